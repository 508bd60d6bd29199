package store_test

import (
	"sync"
	"testing"

	"patchlane/tasks/contact"
)

func TestSigningKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	list := func() []contact.SigningKey {
		t.Helper()
		keys, err := b.Store.SigningKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if got := list(); len(got) != 0 {
		t.Fatalf("a new database has %d keys", len(got))
	}
	// Of many that make the first one at once, one stands.
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			k := contact.SigningKey{Generation: 1, Private: []byte{byte(i), 1}, Public: []byte{byte(i), 2}}
			if err := b.Store.AddSigningKey(t.Context(), k); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got := list()
	if len(got) != 1 || got[0].Private[0] != got[0].Public[0] || got[0].CreatedAt.IsZero() {
		t.Fatalf("keys %+v", got)
	}
	for generation := 2; generation <= 4; generation++ {
		k := contact.SigningKey{Generation: generation, Private: []byte{1}, Public: []byte{2}}
		if err := b.Store.AddSigningKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Store.DropSigningKeys(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got := list(); len(got) != 2 || got[0].Generation != 4 || got[1].Generation != 3 {
		t.Fatalf("keys %+v", got)
	}
}
