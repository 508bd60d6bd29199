package contact_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// An erasure is alone in its batch, in the order of the lane.
func TestFoldErase(t *testing.T) {
	t.Parallel()
	ref := contact.Ref{Account: uuid.New(), ID: uuid.New()}
	email := "Ada@Example.com"
	c := &contact.Contact{Ref: ref, Version: 7}
	c.Text[contact.Email] = &email
	entry := func(kind contact.Kind) contact.Entry {
		return contact.Entry{Write: contact.Write{ID: uuid.New(), Account: ref.Account, Contact: ref.ID, Kind: kind, AcceptedAt: time.Now()}}
	}
	batch := contact.Batch{Now: time.Now(), Contacts: map[contact.Ref]*contact.Contact{ref: c}}
	patch, erase, behind := entry(contact.KindPatch), entry(contact.KindErase), entry(contact.KindPatch)
	if out := batch.Fold([]contact.Entry{patch, erase, behind}); out.Consumed != 1 || out.Erased != nil {
		t.Errorf("consumed %d before an erasure", out.Consumed)
	}
	out := batch.Fold([]contact.Entry{erase, behind})
	if out.Consumed != 1 || out.Erased == nil || out.Erased.Version != 8 || len(out.Updated)+len(out.Created) != 0 {
		t.Fatalf("%+v", out)
	}
	want := contact.Address{Account: ref.Account, Channel: contact.EmailChannel, Key: "ada@example.com"}
	if len(out.Erased.Addresses) != 1 || out.Erased.Addresses[0] != want {
		t.Errorf("addresses: %+v", out.Erased.Addresses)
	}
	gone := contact.Batch{Now: time.Now(), Erased: map[contact.Ref]bool{ref: true}}
	for kind, code := range map[contact.Kind]contact.Code{
		contact.KindPatch: contact.CodeNotFound, contact.KindArchive: contact.CodeNotFound,
		contact.KindRestore: contact.CodeNotFound, contact.KindCreate: contact.CodeDuplicate,
	} {
		if o := gone.Fold([]contact.Entry{entry(kind)}).Outcomes[0]; o.State != contact.Failed || o.Code != code {
			t.Errorf("%s: %s %s", kind, o.State, o.Code)
		}
	}
	if o := gone.Fold([]contact.Entry{erase}).Outcomes[0]; o.State != contact.Unchanged {
		t.Errorf("a second erasure: %s", o.State)
	}
	again, err := contact.Decode(contact.Encode(&erase.Write))
	if err != nil || again.Kind != contact.KindErase || again.ID != erase.ID {
		t.Errorf("wire form: %+v, %v", again, err)
	}
}

// The stand-in of an address tells channel and account apart, and nothing else.
func TestErasedKey(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdef0123456789abcdef")
	a := contact.Address{Account: uuid.New(), Channel: contact.SMSChannel, Key: "+15550001"}
	key := a.ErasedKey(secret)
	if key != a.ErasedKey(secret) || strings.Contains(key, a.Key) {
		t.Errorf("key %q", key)
	}
	b, c, d := a, a, a
	b.Account, c.Channel, d.Key = uuid.New(), contact.EmailChannel, key
	if b.ErasedKey(secret) == key || c.ErasedKey(secret) == key || a.ErasedKey([]byte("another")) == key {
		t.Error("two addresses or secrets have one key")
	}
	if d.ErasedKey(secret) != key {
		t.Error("the key of a key is another")
	}
}
