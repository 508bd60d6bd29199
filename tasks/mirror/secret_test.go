package mirror_test

import (
	"testing"

	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/mirror"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	m := mirror.New(lanetest.New(t))
	if _, found, err := m.Secret(t.Context(), "links"); found || err != nil {
		t.Fatalf("before: %v, %v", found, err)
	}
	if err := m.PutSecret(t.Context(), "links", []byte("a\x00b")); err != nil {
		t.Fatal(err)
	}
	secret, found, err := m.Secret(t.Context(), "links")
	if string(secret) != "a\x00b" || !found || err != nil {
		t.Errorf("after: %q, %v, %v", secret, found, err)
	}
	if _, found, err := m.Secret(t.Context(), "others"); found || err != nil {
		t.Errorf("another name: %v, %v", found, err)
	}
}
