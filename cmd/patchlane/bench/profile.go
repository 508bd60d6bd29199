package bench

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/google/uuid"
)

// notesBudget is how many bytes of notes a contact is given: an append beyond
// the server's limit (64 KiB unless it was told otherwise) would fail.
const notesBudget = 60_000

// target is a contact of the run.
type target struct {
	index int
	id    uuid.UUID
	// created is the write that made it.
	created uuid.UUID
	// noted is how many bytes of notes were sent to it.
	noted atomic.Int64
	// writes is what was sent to it, in no order; set after the load.
	writes []*write
}

// write is one write and what is known of it.
type write struct {
	client, n int
	target    *target
	// note says that the token is in the notes too.
	note bool
	// sent and acked are readings of the run's logical clock, before the first
	// try and after the answer.
	sent, acked uint64
	fate        fate
	id          uuid.UUID
	outcome     *outcome
	flaws       flaws
}

// fate is what the client was told about a write.
type fate uint8

const (
	// unknown: no answer came, or one that leaves it open.
	unknown fate = iota
	acknowledged
	refused
)

// token names the write. It is the value of job_title, and a line of the notes.
func (w *write) token() string { return fmt.Sprintf("%d:%d:%d", w.client, w.target.index, w.n) }

// patch is the body of the write: two changed fields, and perhaps a note.
func (w *write) patch() map[string]string {
	p := map[string]string{
		"job_title":    w.token(),
		"company_name": fmt.Sprintf("company %d of %d", w.n, w.client),
	}
	if w.note {
		p["notes_append"] = w.token()
	}
	return p
}

// profile chooses the writes of one client. Two clients of the same number
// choose alike.
type profile struct {
	client   int
	n        int
	contacts []*target
	hot      float64
	notes    float64
	dice     *rand.Rand
}

func newProfile(client int, r *run) *profile {
	return &profile{
		client: client, contacts: r.contacts, hot: r.Hot, notes: *r.Notes,
		dice: rand.New(rand.NewPCG(1, uint64(client))), //nolint:gosec // G404, G115: a repeatable choice is wanted
	}
}

// next chooses the next write.
func (p *profile) next() *write {
	t := p.contacts[0]
	if p.dice.Float64() >= p.hot {
		t = p.contacts[p.dice.IntN(len(p.contacts))]
	}
	p.n++
	w := &write{client: p.client, n: p.n, target: t}
	if p.dice.Float64() < p.notes {
		size := int64(len(w.token()) + 1)
		w.note = t.noted.Add(size) <= notesBudget
	}
	return w
}
