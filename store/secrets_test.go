package store_test

import (
	"bytes"
	"sync"
	"testing"
)

// TestSecretsAreMadeOnce: of many processes that offer one, all get the same.
func TestSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const offers = 20
	got := make([][]byte, offers)
	var wg sync.WaitGroup
	for i := range offers {
		wg.Go(func() {
			secret, err := b.Store.Secret(t.Context(), "links", bytes.Repeat([]byte{byte(i + 1)}, 32))
			if err != nil {
				t.Error(err)
			}
			got[i] = secret
		})
	}
	wg.Wait()
	for _, secret := range got {
		if len(secret) != 32 || !bytes.Equal(secret, got[0]) {
			t.Fatalf("%x and %x", secret, got[0])
		}
	}
	other, err := b.Store.Secret(t.Context(), "others", bytes.Repeat([]byte{99}, 32))
	if err != nil || bytes.Equal(other, got[0]) {
		t.Errorf("another name has %x, %v", other, err)
	}
}
