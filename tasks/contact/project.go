package contact

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Touch says that an event, or a suppression found later, may concern a
// contact. Whether it does is for Project to see, on the locked contact.
type Touch struct {
	Contact Ref
	// Event and its Effect; nil for a suppression.
	Event  *Event
	Effect Effect
	// Suppression is what the second look found at an address that the contact
	// was given at a time.
	Suppression *Suppression
	At          int64
}

// Projection is what is known about some locked contacts.
type Projection struct {
	Now      time.Time
	Contacts map[Ref]*Contact
	// Left holds the addresses that these contacts left lately.
	Left map[Ref][]Left
}

// Projected is what touches come to.
type Projected struct {
	// Updated are the contacts whose clocks moved.
	Updated []FoldedContact
	// Rows are the audit: one for each event that changed what can be seen of a
	// contact.
	Rows []Record
}

// Project applies touches in order. A clock only grows, so a touch that was
// applied before changes nothing. Archived contacts are touched as well: they
// may be restored.
func (p *Projection) Project(touches []Touch) Projected {
	f := folder{
		Batch: &Batch{}, now: p.Now.UTC().Truncate(time.Microsecond), null: json.RawMessage("null"),
	}
	var out Projected
	changed := map[Ref]*Contact{}
	for i := range touches {
		t := &touches[i]
		c := changed[t.Contact]
		if c == nil {
			stored := p.Contacts[t.Contact]
			if stored == nil {
				continue
			}
			c = new(*stored)
		}
		moved, changes := f.touch(c, t, p.Left[t.Contact])
		if !moved {
			continue
		}
		if changed[t.Contact] == nil {
			changed[t.Contact] = c
			out.Updated = append(out.Updated, FoldedContact{Contact: c})
		}
		if len(changes) > 0 {
			c.Version++
			c.UpdatedAt = f.now
			out.Rows = append(out.Rows, t.row(c, changes, f.now))
		}
	}
	return out
}

// touch moves the clock of a contact and tells what can be seen of it.
func (f *folder) touch(c *Contact, t *Touch, left []Left) (moved bool, changes []Change) {
	about := t.about()
	clock := c.Consent(about.Channel)
	before := *clock
	have, has := c.Address(about.Channel)
	has = has && have == about
	switch {
	case t.Suppression != nil && has:
		*clock = clock.Inherit(t.Suppression.Clock, t.At)
	case t.Suppression != nil:
	case has:
		*clock = clock.Take(t.Effect)
	default:
		for i := range left {
			if left[i].Address == about {
				*clock = clock.TakeLeft(t.Effect, &left[i])
			}
		}
	}
	if t.Event != nil && t.Event.Contact == c.ID && !has {
		*clock = clock.TakeNamed(t.Effect)
	}
	if before == *clock {
		return false, nil
	}
	return true, f.flags(nil, about.Channel, true, before, *clock)
}

func (t *Touch) about() Address {
	if t.Suppression != nil {
		return t.Suppression.Address
	}
	return t.Event.About()
}

// row is the audit of a touch.
func (t *Touch) row(c *Contact, changes []Change, now time.Time) Record {
	r := Record{Outcome: Outcome{
		Ref: c.Ref, Kind: KindConsent, State: Applied, Version: c.Version, Changes: changes,
		AcceptedAt: now, AppliedAt: now,
	}}
	var cited uuid.UUID
	if t.Suppression != nil {
		cited, r.Source = t.Suppression.Event, SourceRecheck
	} else {
		cited, r.Source, r.Actor, r.AcceptedAt = t.Event.ID, t.Event.Source, t.Event.Actor, t.Event.AcceptedAt
	}
	r.SourceEvent = cited.String()
	r.WriteID = consentID(now, cited, c)
	return r
}

// consentID makes the id of an audit row that no client's write has: a UUIDv7
// of the moment, told apart by event, contact and version.
func consentID(now time.Time, cited uuid.UUID, c *Contact) uuid.UUID {
	b := slices.Concat(cited[:], c.Account[:], c.ID[:])
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(c.Version))) //nolint:gosec // versions count from 1
	var id uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())<<16)
	copy(id[:6], ms[:6])
	copy(id[6:], sum[:])
	id[6] = 0x70 | id[6]&0x0f
	id[8] = id[8]&0x3f | 0x80
	return id
}
