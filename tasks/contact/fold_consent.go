package contact

import "encoding/json"

// consent moves the clocks of both channels and logs what it does to the flags
// and their reasons.
func (a *attempt) consent() error {
	if !sameKey(a.state.cur.Text[Email], a.next.Text[Email]) {
		a.next.EmailConsent = a.next.EmailConsent.Readdress()
	}
	if !sameKey(a.state.cur.Text[Phone], a.next.Text[Phone]) {
		a.next.SMSConsent = a.next.SMSConsent.Readdress()
	}
	p := &a.write.Patch
	if err := a.channel("email_unsubscribed", a.state.cur.EmailConsent, &a.next.EmailConsent, p.EmailUnsubscribed); err != nil {
		return err
	}
	return a.channel("sms_unsubscribed", a.state.cur.SMSConsent, &a.next.SMSConsent, p.SMSUnsubscribed)
}

// channel applies what the write says about one channel, if it says anything.
func (a *attempt) channel(field string, before Consent, clock *Consent, optOut *bool) error {
	if optOut != nil {
		at := max(1, a.write.ConsentTime().UnixMicro())
		if !*optOut && a.ConsentLock[a.write.Account] && clock.locks(at) {
			return fail(CodeConsentLocked, "the account does not let a write undo a complaint or a hard bounce")
		}
		*clock = clock.Ask(*optOut, at)
		if _, _, out := clock.Standing(); out != *optOut {
			a.skipped = append(a.skipped, Skip{Field: field, Reason: SkipNewerConsent})
		}
	}
	if before != *clock {
		a.flags(field, before, *clock)
	}
	return nil
}

// flags logs the projection of a clock where it changed.
func (a *attempt) flags(field string, before, after Consent) {
	was, _, wasOut := before.Standing()
	is, _, isOut := after.Standing()
	if wasOut != isOut {
		from := flagJSON(wasOut)
		if !a.state.exists {
			from = a.null
		}
		a.change(field, OpSet, from, flagJSON(isOut))
	}
	if wasOut != isOut || was != is {
		a.change(field+"_reason", OpSet, a.reason(was, wasOut), a.reason(is, isOut))
	}
}

func flagJSON(out bool) json.RawMessage {
	if out {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

func (a *attempt) reason(c Cause, out bool) json.RawMessage {
	if !out {
		return a.null
	}
	s := c.String()
	return a.quote(&s)
}

// sameKey tells whether two addresses are the same one; phone numbers are in
// E.164 form, where lower case changes nothing.
func sameKey(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b || EmailKey(*a) == EmailKey(*b)
}
