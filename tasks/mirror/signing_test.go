package mirror_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/mirror"
)

func TestSigningKeysWithoutPrivateHalves(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	if keys, err := m.SigningKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Fatalf("empty mirror: %v, %v", keys, err)
	}
	stored := []contact.SigningKey{
		{Generation: 2, Private: []byte("private two"), Public: []byte("two"), CreatedAt: time.Now().UTC().Truncate(time.Microsecond)},
		{Generation: 1, Private: []byte("private one"), Public: []byte("one")},
	}
	if err := m.PutSigningKeys(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	got, err := m.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored[0].Private, stored[1].Private = nil, nil
	if diff := cmp.Diff(stored, got); diff != "" {
		t.Error(diff)
	}
	raw, err := rdb.Get(t.Context(), "mirror:signing").Bytes()
	if err != nil || bytes.Contains(raw, []byte("rivate")) || bytes.Contains(raw, []byte("cHJpdmF0ZS")) {
		t.Errorf("%v: private halves in %s", err, raw)
	}
	rdb.Set(t.Context(), "mirror:signing", "no json", 0)
	if _, err := m.SigningKeys(t.Context()); err == nil {
		t.Error("nonsense was read")
	}
}

func TestKeysByID(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	filled, put := newKey("pl_filled"), newKey("pl_put")
	if err := m.FillKey(t.Context(), filled); err != nil {
		t.Fatal(err)
	}
	if err := m.PutKey(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	for _, k := range []contact.Key{filled, put} {
		if hash, found, err := m.KeyHash(t.Context(), k.ID); err != nil || !found || hash != k.Hash {
			t.Errorf("%x, %v, %v", hash, found, err)
		}
	}
	id := uuid.New()
	if _, found, err := m.KeyHash(t.Context(), id); found || err != nil {
		t.Errorf("unknown id: %v, %v", found, err)
	}
	rdb.Set(t.Context(), "mirror:keyid:"+id.String(), "short", 0)
	if _, found, err := m.KeyHash(t.Context(), id); found || err != nil {
		t.Errorf("nonsense: %v, %v", found, err)
	}
}
