package contact

import "time"

// Causes is a set of causes.
type Causes uint16

func causes(list ...Cause) Causes {
	var s Causes
	for _, k := range list {
		s |= 1 << k
	}
	return s
}

// Has tells whether a cause is in the set.
func (s Causes) Has(k Cause) bool { return s&(1<<k) != 0 }

// Effect is what an event does to the contacts that have its address.
type Effect struct {
	// At is the acceptance of the event.
	At int64
	// Said is the event's own time, by which a contact may have left the
	// address since.
	Said int64
	// Out: the channel is opted out for Cause.
	Out   bool
	Cause Cause
	// Undoes are the causes that a recipient's opt-in undoes.
	Undoes Causes
}

// None tells whether the event leaves contacts as they are.
func (e Effect) None() bool { return !e.Out && e.Undoes == 0 }

// Effect makes the effect again that the event was found to have.
func (e *Event) Effect(out bool, undoes Causes) Effect {
	return Effect{
		At: micros(e.AcceptedAt), Said: e.moment(), Out: out, Cause: e.Cause, Undoes: undoes,
	}
}

// Result names what became of an event with an effect.
func (e *Event) Result(f Effect) string {
	switch {
	case e.Action == Review:
		return ResultReview
	case e.Action == Quarantine:
		return ResultQuarantined
	case !f.None():
		return ResultApplied
	case e.Action == OptOut || undoes(e.Channel, e.Action) != 0:
		return ResultStale
	default:
		return ResultRecorded
	}
}

// undoes is the table of who may undo what: a START never touches what came by
// e-mail, and nobody's word undoes a complaint or an address that bounces.
func undoes(ch Channel, a Action) Causes {
	switch {
	case ch == SMSChannel && a == Start:
		return causes(KeywordStop, ProviderSuppressed, Manual)
	case ch == EmailChannel && a == Resubscribe:
		return causes(Unsubscribe, ProviderSuppressed, Manual)
	default:
		return 0
	}
}

// Hear returns the clock of an address after an event, and what the event does
// to the contacts that have the address. Events of one address come in the order
// of their acceptance, which Out and In hold; among them Said and Back hold the
// providers' own times, so that what is reported late does not undo what
// happened since. A tie is an opt-out.
func (c Consent) Hear(e *Event) (Consent, Effect) {
	at, said := micros(e.AcceptedAt), e.moment()
	effect := Effect{At: at, Said: said}
	switch e.Action {
	case OptOut:
		return c.hearOut(e.Cause, effect)
	case Start, Resubscribe:
		return c.hearIn(undoes(e.Channel, e.Action), effect)
	case StartIfStopped:
		if c.stands(KeywordStop) {
			return c.hearIn(undoes(e.Channel, Start), effect)
		}
	case Clear:
		for k := range NumCauses {
			if c.stands(k) {
				effect.Undoes |= causes(k)
			}
		}
		c.In = max(c.In, at)
	case Review, Note, Quarantine, endActions:
	}
	return c, effect
}

// hearOut hears of an opt-out, unless a later opt-in was heard of before.
func (c Consent) hearOut(k Cause, effect Effect) (Consent, Effect) {
	said := effect.Said
	if k == Manual {
		said = effect.At // The account's own word has no other time.
	}
	if said < c.Back[k] {
		return c, effect
	}
	if c.stands(k) {
		said = max(said, c.Said[k])
	}
	c.Out[k], c.Said[k] = max(c.Out[k], effect.At), said
	effect.Out, effect.Cause = true, k
	return c, effect
}

// hearIn hears of a recipient's opt-in. A cause that was said at the same time
// or later stays.
func (c Consent) hearIn(set Causes, effect Effect) (Consent, Effect) {
	for k := range NumCauses {
		if !set.Has(k) {
			continue
		}
		said := effect.Said
		if k == Manual {
			said = effect.At
		}
		if !c.stands(k) || c.Said[k] < said {
			effect.Undoes |= causes(k)
		}
		c.Back[k] = max(c.Back[k], said)
	}
	return c, effect
}

// Take returns the clock of a contact after an event of the address that it
// has.
func (c Consent) Take(e Effect) Consent {
	if e.Out {
		c.Out[e.Cause] = max(c.Out[e.Cause], e.At, c.Given)
		c.Said[e.Cause] = max(c.Said[e.Cause], e.At)
	}
	for k := range NumCauses {
		if e.Undoes.Has(k) {
			c.Back[k] = max(c.Back[k], e.At)
		}
	}
	return c
}

// Left is an address that a contact had.
type Left struct {
	Address
	Contact Ref
	// At is when the contact left the address, and Given its Consent.Given while
	// it had it.
	At, Given int64
}

// TakeLeft returns the clock of a contact after an event of an address that it
// had when the event happened: what the person said goes with the person. An
// opt-in does not, for it may be younger than what the contact heard since.
func (c Consent) TakeLeft(e Effect, l *Left) Consent {
	if !e.Out || e.Said >= l.At || e.Cause == HardBounce || e.Cause == ProviderSuppressed {
		return c
	}
	c.Out[e.Cause] = max(c.Out[e.Cause], e.At, l.Given)
	c.Said[e.Cause] = max(c.Said[e.Cause], e.At, l.At)
	return c
}

// TakeNamed returns the clock of a contact after an event that names it,
// whichever address it has now.
func (c Consent) TakeNamed(e Effect) Consent {
	if e.Out {
		c.Out[e.Cause] = max(c.Out[e.Cause], e.At)
		c.Said[e.Cause] = max(c.Said[e.Cause], e.At)
	}
	return c
}

// futureSkew is how far a provider's clock may run ahead and still be believed.
const futureSkew = 5 * time.Minute

// moment is the event's own time among those of its address: never later than
// its acceptance, which also stands for a time that is missing or lies too far
// in the future. An opt-out in whole seconds counts to the end of its second, an
// opt-in from its start.
func (e *Event) moment() int64 {
	t := e.At
	if t.IsZero() || t.After(e.AcceptedAt.Add(futureSkew)) {
		return micros(e.AcceptedAt)
	}
	if e.WholeSeconds {
		t = t.Truncate(time.Second)
		if e.Action == OptOut {
			t = t.Add(time.Second - time.Microsecond)
		}
	}
	return min(micros(t), micros(e.AcceptedAt))
}

// micros is a time on a clock of consent, where 0 means never.
func micros(t time.Time) int64 { return max(1, t.UnixMicro()) }
