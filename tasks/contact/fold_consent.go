package contact

import "encoding/json"

// consent moves the clocks of both channels and logs what it does to the flags
// and their reasons.
func (a *attempt) consent() error {
	for _, ch := range Channels() {
		if err := a.channel(ch); err != nil {
			return err
		}
	}
	return nil
}

// channel applies what the write does to one channel: by the address that it
// gives or takes away, and by what it says about consent.
func (a *attempt) channel(ch Channel) error {
	before, clock := *a.state.cur.Consent(ch), a.next.Consent(ch)
	given := a.readdress(ch, clock)
	if optOut := a.write.Patch.optOut(ch); optOut != nil {
		at := micros(a.write.ConsentTime())
		if !*optOut && a.ConsentLock[a.write.Account] && clock.locks(at) {
			return fail(CodeConsentLocked, "the account does not let a write undo a complaint or a hard bounce")
		}
		*clock = clock.Ask(*optOut, at)
	}
	inherited := a.inherit(given, clock)
	if optOut := a.write.Patch.optOut(ch); optOut != nil {
		if _, _, out := clock.Standing(); out != *optOut {
			reason := SkipNewerConsent
			if inherited {
				reason = SkipSuppressedAddress
			}
			a.skipped = append(a.skipped, Skip{Field: ch.flag(), Reason: reason})
		}
	}
	if before != *clock {
		a.changes = a.flags(a.changes, ch, a.state.exists, before, *clock)
	}
	return nil
}

// optOut returns what a patch asks of a channel; nil: nothing.
func (p *Patch) optOut(ch Channel) *bool {
	if ch == EmailChannel {
		return p.EmailUnsubscribed
	}
	return p.SMSUnsubscribed
}

// readdress moves the clock of a channel whose address changes, and notes the
// address that is left and the one that is given.
func (a *attempt) readdress(ch Channel, clock *Consent) *Given {
	old, had := a.state.cur.Address(ch)
	had = had && a.state.exists
	now, has := a.next.Address(ch)
	if sameAddress(a.state.cur.Text[ch.field()], a.next.Text[ch.field()], old.Key, now.Key) {
		return nil
	}
	at := micros(a.write.AcceptedAt)
	if had {
		a.left = append(a.left, Left{Address: old, Contact: a.next.Ref, At: at, Given: clock.Given})
	}
	*clock = clock.Readdress(at)
	if !has {
		return nil
	}
	a.given = append(a.given, Given{Address: now, Contact: a.next.Ref, At: at})
	return &a.given[len(a.given)-1]
}

// sameAddress tells whether two texts are one address; texts that are none are
// compared as they stand.
func sameAddress(a, b *string, keyA, keyB string) bool {
	if keyA == "" && keyB == "" {
		return sameText(a, b)
	}
	return keyA == keyB
}

// inherit opts a contact out that gets a suppressed address, whatever it asked
// for until then and with the same write.
func (a *attempt) inherit(given *Given, clock *Consent) bool {
	if given == nil {
		return false
	}
	given.At = max(given.At, clock.In)
	clock.Given = given.At
	s, suppressed := a.Suppressed[given.Address]
	if !suppressed {
		return false
	}
	*clock = clock.Inherit(s.Clock, given.At)
	a.sources = append(a.sources, s.Event)
	return true
}

// flags logs the projection of a clock where it changed.
func (f *folder) flags(log []Change, ch Channel, existed bool, before, after Consent) []Change {
	was, _, wasOut := before.Standing()
	is, _, isOut := after.Standing()
	if wasOut != isOut {
		from := flagJSON(wasOut)
		if !existed {
			from = f.null
		}
		log = append(log, Change{Field: ch.flag(), Op: OpSet, Old: from, New: flagJSON(isOut)})
	}
	if wasOut != isOut || was != is {
		log = append(log, Change{
			Field: ch.flag() + "_reason", Op: OpSet, Old: f.reason(was, wasOut), New: f.reason(is, isOut),
		})
	}
	return log
}

func flagJSON(out bool) json.RawMessage {
	if out {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

func (f *folder) reason(c Cause, out bool) json.RawMessage {
	if !out {
		return f.null
	}
	s := c.String()
	return f.quote(&s)
}
