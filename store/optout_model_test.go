package store_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"patchlane/store"
	"patchlane/tasks/contact"
)

// modelContact is a contact as somebody sees it who is told everything at once,
// in the order of acceptance: why it is opted out, and since when it wanted
// what.
type modelContact struct {
	number string
	out    map[contact.Cause]time.Time
	in     time.Time
	back   map[contact.Cause]time.Time
	left   []modelLeft
}

type modelLeft struct {
	number string
	at     time.Time
}

// modelNumber is what is known about a number.
type modelNumber struct {
	said map[contact.Cause]time.Time
	back map[contact.Cause]time.Time
}

// model applies a history in the order of acceptance.
type model struct {
	contacts map[uuid.UUID]*modelContact
	numbers  map[string]*modelNumber
}

func (c *modelContact) stands(k contact.Cause) bool {
	at, ok := c.out[k]
	return ok && !at.Before(c.in) && !at.Before(c.back[k])
}

func (c *modelContact) optedOut() bool {
	return slices.ContainsFunc(allCauses(), c.stands)
}

func allCauses() []contact.Cause {
	list := make([]contact.Cause, 0, contact.NumCauses)
	for k := range contact.NumCauses {
		list = append(list, k)
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// write applies a write.
func (m *model) write(e *contact.Entry) {
	c := m.contacts[e.Contact]
	if v, present := e.Patch.Text(contact.Phone); present && (v == nil) != (c.number == "") || v != nil && *v != c.number {
		m.readdress(c, v, e.AcceptedAt)
	}
	if e.Patch.SMSUnsubscribed != nil {
		if at := e.ConsentTime(); *e.Patch.SMSUnsubscribed {
			c.out[contact.Manual] = later(c.out[contact.Manual], at)
		} else {
			c.in = later(c.in, at)
		}
	}
	if v, _ := e.Patch.Text(contact.Phone); v != nil && m.numbers[*v] != nil && c.fresh(e.AcceptedAt) {
		for k := range m.numbers[*v].said {
			c.out[k] = later(c.out[k], later(e.AcceptedAt, c.in))
			delete(c.back, k)
		}
	}
}

// fresh tells whether the contact got its number at this moment.
func (c *modelContact) fresh(at time.Time) bool {
	return len(c.left) > 0 && c.left[len(c.left)-1].at.Equal(at)
}

func (m *model) readdress(c *modelContact, to *string, at time.Time) {
	c.left = append(c.left, modelLeft{c.number, at})
	for k := range c.out {
		if !c.stands(k) && c.out[k].Before(c.back[k]) || k == contact.HardBounce || k == contact.ProviderSuppressed {
			delete(c.out, k)
		}
	}
	c.back, c.number = map[contact.Cause]time.Time{}, ""
	if to != nil {
		c.number = *to
	}
}

// event applies an event.
func (m *model) event(e *contact.Event) {
	n := m.numbers[e.Address]
	if n == nil {
		n = &modelNumber{map[contact.Cause]time.Time{}, map[contact.Cause]time.Time{}}
		m.numbers[e.Address] = n
	}
	said := e.AcceptedAt
	if !e.At.IsZero() && e.Cause != contact.Manual {
		said = e.At
	}
	switch e.Action {
	case contact.OptOut:
		if said.Before(n.back[e.Cause]) {
			return
		}
		n.said[e.Cause] = later(n.said[e.Cause], said)
		m.optOut(e)
	case contact.Start:
		for _, k := range []contact.Cause{contact.KeywordStop, contact.ProviderSuppressed, contact.Manual} {
			at := e.AcceptedAt
			if k != contact.Manual && !e.At.IsZero() {
				at = e.At
			}
			n.back[k] = later(n.back[k], at)
			if stop, ok := n.said[k]; !ok || stop.Before(at) {
				delete(n.said, k)
				m.undo(e, k)
			}
		}
	case contact.Clear:
		for k := range maps.Clone(n.said) {
			delete(n.said, k)
			m.undo(e, k)
		}
	default: // nothing else is generated
	}
}

func (m *model) optOut(e *contact.Event) {
	when := e.At
	if when.IsZero() {
		when = e.AcceptedAt
	}
	person := e.Cause != contact.HardBounce && e.Cause != contact.ProviderSuppressed
	for _, c := range m.contacts {
		had := person && slices.ContainsFunc(c.left, func(l modelLeft) bool {
			return l.number == e.Address && when.Before(l.at)
		})
		if c.number == e.Address || had {
			c.out[e.Cause] = later(c.out[e.Cause], e.AcceptedAt)
		}
	}
}

func (m *model) undo(e *contact.Event, k contact.Cause) {
	for _, c := range m.contacts {
		if c.number == e.Address {
			c.back[k] = later(c.back[k], e.AcceptedAt)
		}
	}
}

// history is what was accepted, in order, and how it is applied.
type history struct {
	b        *bundle
	contacts []uuid.UUID
	all      []contact.Entry
	lanes    map[contact.Lane][]contact.Entry
	of       map[uuid.UUID]contact.Lane
	// done counts what was applied of each lane.
	done map[contact.Lane]int
	// ahead: an event was applied before a write, accepted earlier, by which a
	// contact leaves a number. It may then be opted out too much, never too
	// little.
	ahead bool
	// unsure: an opt-out of a number was taken back, and that was applied before
	// two changes of address of a contact that were accepted earlier: of a stay at
	// the number that was over, nothing remains to inherit. Nor is it told apart
	// whether it was taken back for the first or the second stay of a contact that
	// comes back to a number.
	unsure bool
}

func numbers() []string { return []string{"+31600000001", "+31600000002", "+31600000003"} }

// genHistory accepts some writes and events.
func genHistory(rt *rapid.T, b *bundle) *history {
	h := &history{
		b: b, lanes: map[contact.Lane][]contact.Entry{}, of: map[uuid.UUID]contact.Lane{}, done: map[contact.Lane]int{},
	}
	for i := range 2 {
		id := uuid.New()
		h.contacts = append(h.contacts, id)
		h.of[id] = contact.Lane{Kind: 'c', N: i}
		h.accept(h.of[id], b.create(id, "Ada"))
	}
	began := b.clock
	for range rapid.IntRange(2, 14).Draw(rt, "length") {
		past := func(name string) (t time.Time) {
			if rapid.Bool().Draw(rt, name) {
				t = began.Add(time.Duration(rapid.IntRange(0, 2*len(h.all)).Draw(rt, name+" at")) * time.Millisecond)
			}
			return t
		}
		if rapid.Bool().Draw(rt, "event") {
			action := rapid.SampledFrom([]contact.Action{
				contact.OptOut, contact.OptOut, contact.OptOut, contact.Start, contact.Clear,
			}).Draw(rt, "action")
			edit := func(e *contact.Event) {
				e.Address = rapid.SampledFrom(numbers()).Draw(rt, "number")
				if action == contact.OptOut {
					e.Cause = rapid.SampledFrom(allCauses()).Draw(rt, "cause")
				}
				if said := past("said"); said.Before(e.AcceptedAt) {
					e.At = said
				}
			}
			h.accept(laneA, b.event(action, edit))
			continue
		}
		id := rapid.SampledFrom(h.contacts).Draw(rt, "contact")
		h.accept(h.of[id], h.genWrite(rt, id, past))
	}
	return h
}

func (h *history) genWrite(rt *rapid.T, id uuid.UUID, past func(string) time.Time) contact.Entry {
	e := h.b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		p.NotesAppend = new("x")
		switch v := rapid.SampledFrom(append(numbers(), "", "same", "same")).Draw(rt, "give"); v {
		case "same":
		case "":
			p.SetText(contact.Phone, nil)
		default:
			p.SetText(contact.Phone, &v)
		}
		switch rapid.IntRange(0, 3).Draw(rt, "asks") {
		case 0:
			p.SMSUnsubscribed = new(false)
		case 1:
			p.SMSUnsubscribed = new(true)
		}
	})
	if p := &e.Patch; p.SMSUnsubscribed != nil && !*p.SMSUnsubscribed {
		e.AsOf = past("as of")
	}
	return e
}

func (h *history) accept(lane contact.Lane, e contact.Entry) {
	h.all = append(h.all, e)
	h.lanes[lane] = append(h.lanes[lane], e)
}

// apply applies everything, lane by lane in any order, in batches, some of them
// twice, some by a process that dies halfway.
func (h *history) apply(rt *rapid.T) {
	ctx := h.b.t.Context()
	for {
		var open []contact.Lane
		for _, lane := range []contact.Lane{{Kind: 'c', N: 0}, {Kind: 'c', N: 1}, laneA} {
			if h.done[lane] < len(h.lanes[lane]) {
				open = append(open, lane)
			}
		}
		if len(open) == 0 {
			return
		}
		lane := rapid.SampledFrom(open).Draw(rt, "lane")
		from := max(0, h.done[lane]-rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "replayed"))
		to := min(len(h.lanes[lane]), h.done[lane]+rapid.IntRange(1, 4).Draw(rt, "batch"))
		batch := h.lanes[lane][from:to]
		h.notice(lane, batch)
		apply, die := h.b.Store.Apply, store.ApplyAndDie
		if lane == laneA {
			apply, die = h.b.Store.Optouts().Apply, store.HearOnly
		}
		if rapid.IntRange(0, 3).Draw(rt, "dies") == 0 {
			// What it committed is there; who comes next begins with the same.
			if err := die(ctx, h.b.Store, lane, batch); err != nil && err.Error() != store.Rechecked {
				rt.Fatalf("die in %s: %v", lane, err)
			}
		}
		out, err := apply(ctx, lane, batch)
		if err != nil {
			rt.Fatalf("apply to %s: %v", lane, err)
		}
		h.done[lane] = max(h.done[lane], from+out.Consumed)
	}
}

// comesBack tells whether a contact comes back to a number of which something
// was taken back.
func (h *history) comesBack() bool {
	had, undone := map[string]bool{}, map[string]bool{}
	for _, e := range h.all {
		if e.Event != nil && e.Event.Action != contact.OptOut {
			undone[e.Event.Address] = true
		}
	}
	for _, e := range h.all {
		v, _ := e.Patch.Text(contact.Phone)
		if v == nil {
			continue
		}
		key := e.Contact.String() + *v
		if had[key] && undone[*v] {
			return true
		}
		had[key] = true
	}
	return false
}

// notice sets ahead and unsure.
func (h *history) notice(lane contact.Lane, batch []contact.Entry) {
	for _, e := range batch {
		for other, entries := range h.lanes {
			if lane != laneA || other == laneA {
				continue
			}
			moves := 0
			for _, w := range entries[h.done[other]:] {
				if _, m := w.Patch.Text(contact.Phone); m && w.AcceptedAt.Before(e.AcceptedAt) {
					moves++
				}
			}
			h.ahead = h.ahead || moves > 0
			h.unsure = h.unsure || moves > 1 && e.Event.Action != contact.OptOut
		}
	}
	// A write that leaves a number before a START of it, accepted earlier, is
	// applied: what the person took back there is not known here.
	for _, e := range batch {
		if _, moves := e.Patch.Text(contact.Phone); lane == laneA || !moves {
			continue
		}
		for _, ev := range h.lanes[laneA][h.done[laneA]:] {
			h.ahead = h.ahead || ev.AcceptedAt.Before(e.AcceptedAt) && ev.Event.Action != contact.OptOut
		}
	}
}

// TestConsentModel holds every interleaving of the lanes, with replays and
// deaths, against the plain model. What the model opts out is opted out; the
// reverse holds too, but where an event overtook a change of address.
func TestConsentModel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	equal, more := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		side := *b
		account, err := b.Store.CreateAccount(t.Context(), "model")
		if err != nil {
			rt.Fatal(err)
		}
		side.account = account.ID
		h := genHistory(rt, &side)
		b.clock, b.seq = side.clock, side.seq
		m := &model{contacts: map[uuid.UUID]*modelContact{}, numbers: map[string]*modelNumber{}}
		for _, id := range h.contacts {
			m.contacts[id] = &modelContact{out: map[contact.Cause]time.Time{}, back: map[contact.Cause]time.Time{}}
		}
		for i := range h.all {
			if h.all[i].Event != nil {
				m.event(h.all[i].Event)
			} else {
				m.write(&h.all[i])
			}
		}
		h.unsure = h.comesBack()
		h.apply(rt)
		h.compare(rt, m, &equal, &more)
	})
	t.Logf("%d contacts as in the model, %d opted out too much", equal, more)
	if more > equal/10 {
		t.Error("the exceptions are no exceptions")
	}
}

func (h *history) compare(rt *rapid.T, m *model, equal, more *int) {
	for i, id := range h.contacts {
		c, err := h.b.Store.Contact(h.b.t.Context(), contact.Ref{Account: h.b.account, ID: id})
		if err != nil {
			rt.Fatal(err)
		}
		want := m.contacts[id]
		_, _, out := c.SMSConsent.Standing()
		switch {
		case out == want.optedOut():
			*equal++
		case out && h.ahead, h.unsure:
			*more++
		default:
			rt.Fatalf("contact %d is opted out: %v, want %v\n%+v\n%+v\n%s", i, out, want.optedOut(), c.SMSConsent, want, h)
		}
	}
	for number, n := range m.numbers {
		s, err := h.b.Store.Suppression(h.b.t.Context(), contact.Address{
			Account: h.b.account, Channel: contact.SMSChannel, Key: number,
		})
		if err != nil && len(n.said) > 0 {
			rt.Fatal(err)
		}
		if suppressed := s.Stand(); suppressed != (len(n.said) > 0) {
			rt.Fatalf("%s is suppressed: %v, want %v\n%+v\n%s", number, suppressed, n.said, s.Clock, h)
		}
	}
}

// String tells the history.
func (h *history) String() string {
	s := ""
	for _, e := range h.all {
		at := func(t time.Time) int64 { return t.Sub(h.all[0].AcceptedAt).Milliseconds() }
		if ev := e.Event; ev != nil {
			s += fmt.Sprintf("%d %s %s %s said %d\n", at(ev.AcceptedAt), ev.Action, ev.Address, ev.Cause, at(ev.At))
			continue
		}
		v, moves := e.Patch.Text(contact.Phone)
		s += fmt.Sprintf("%d contact %s moves %v", at(e.AcceptedAt), h.of[e.Contact], moves)
		if v != nil {
			s += " to " + *v
		}
		if o := e.Patch.SMSUnsubscribed; o != nil {
			s += fmt.Sprintf(" asks %v as of %d", *o, at(e.ConsentTime()))
		}
		s += "\n"
	}
	return s
}
