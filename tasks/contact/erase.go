package contact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Erased is a contact that a write takes away. Its id stays taken for ever: a
// sync that does not know of the erasure, or waits in the lane behind it, does
// not bring the contact back.
type Erased struct {
	Ref
	WriteID uuid.UUID
	Version int64
	// Addresses are those that the contact had until now.
	Addresses []Address
}

// Erasure is what became of the request to erase a contact.
type Erasure struct {
	Ref
	WriteID  uuid.UUID
	ErasedAt time.Time
	// DoneAt is when the last value was taken out of the audit log, the failed
	// writes and the records of opt-outs; nil: that is still under way.
	DoneAt *time.Time
}

// erase takes a contact away. It has a batch of its own: what stands in the lane
// behind it finds the contact erased. One that never was is marked as well, for
// writes that failed may know of it.
func (f *folder) erase(o Outcome) (Outcome, error) {
	if len(f.out.Outcomes) > 0 {
		return o, errCut
	}
	if f.Erased[o.Ref] {
		o.State, o.Changes = Unchanged, []Change{}
		return o, nil
	}
	c := f.state(o.Ref).cur
	e := Erased{Ref: o.Ref, WriteID: o.WriteID, Version: c.Version + 1}
	for _, ch := range Channels() {
		if a, has := c.Address(ch); has {
			e.Addresses = append(e.Addresses, a)
		}
	}
	f.out.Erased = &e
	o.State, o.Version = Applied, e.Version
	o.Changes = []Change{{Field: "erased_at", Op: OpSet, Old: f.null, New: f.quoteTime(&f.now)}}
	return o, nil
}

// gone is the failure of a write to an erased contact.
func gone(k Kind) *Error {
	if k == KindCreate {
		return fail(CodeDuplicate, "a contact with this id was erased; its id cannot be used again")
	}
	return fail(CodeNotFound, "the contact was erased")
}

// erasedPrefix begins the key of an erased address. No address begins so.
const erasedPrefix = "erased:"

// ErasedKey is what stands for an address that nobody may know any more: a hash
// under a secret key, since a plain one of a phone number is found by trying all
// of them. An address that is one already stays.
func (a Address) ErasedKey(secret []byte) string {
	if strings.HasPrefix(a.Key, erasedPrefix) {
		return a.Key
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(a.Account[:])
	mac.Write([]byte{byte(a.Channel)})
	mac.Write([]byte(a.Key))
	return erasedPrefix + hex.EncodeToString(mac.Sum(nil))
}

// StoredAddress is the address under which the suppression stands in the store.
func (s *Suppression) StoredAddress() Address {
	a := s.Address
	if s.StoredAs != "" {
		a.Key = s.StoredAs
	}
	return a
}

// Merge adds what is known of the same address under another spelling.
func (s *Suppression) Merge(o *Suppression) {
	for k := range NumCauses {
		if o.Clock.Out[k] > s.Clock.Out[k] {
			s.Events[k] = o.Events[k]
		}
		s.Clock.Out[k] = max(s.Clock.Out[k], o.Clock.Out[k])
		s.Clock.Said[k] = max(s.Clock.Said[k], o.Clock.Said[k])
		s.Clock.Back[k] = max(s.Clock.Back[k], o.Clock.Back[k])
	}
	s.Clock.In, s.Clock.Given = max(s.Clock.In, o.Clock.In), max(s.Clock.Given, o.Clock.Given)
	s.Stand()
}
