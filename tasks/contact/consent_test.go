package contact

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestConsentStanding(t *testing.T) {
	t.Parallel()
	stop := func(at int64) Consent { return said(KeywordStop, at) }
	tests := map[string]struct {
		clock Consent
		want  string // "": subscribed
	}{
		"nothing":                       {Consent{}, ""},
		"stop":                          {stop(5), "keyword_stop"},
		"stop, opted in later":          {stop(5).Ask(false, 6), ""},
		"stop, opted in before":         {stop(5).Ask(false, 4), "keyword_stop"},
		"tie: the opt-out wins":         {back(stop(5).Ask(false, 5), 5, KeywordStop), "keyword_stop"},
		"start undoes a stop":           {back(stop(5), 6, KeywordStop), ""},
		"start undoes a manual opt-out": {back(said(Manual, 5), 6, KeywordStop, Manual), ""},
		"start leaves what it may not undo": {
			back(said(Complaint, 5, KeywordStop), 6, KeywordStop, Manual), "complaint",
		},
		"a PATCH undoes a complaint":   {said(Complaint, 5).Ask(false, 6), ""},
		"the newest is the reason":     {Consent{Out: [NumCauses]int64{KeywordStop: 5, Unsubscribe: 6}}, "unsubscribe"},
		"equal times: the first cause": {said(Complaint, 5, Unsubscribe), "complaint"},
		"manual yields to a provider":  {Consent{Out: [NumCauses]int64{KeywordStop: 5, Manual: 6}}, "keyword_stop"},
	}
	for name, tt := range tests {
		cause, at, out := tt.clock.Standing()
		if out != (tt.want != "") || (out && (cause.String() != tt.want || at.UnixMicro() != tt.clock.Out[cause])) {
			t.Errorf("%s: %s, %s, %v", name, cause, at, out)
		}
	}
}

// said is a clock on which causes were said at a time.
func said(k Cause, at int64, more ...Cause) Consent {
	var c Consent
	for _, k := range append(more, k) {
		c.Out[k], c.Said[k] = at, at
	}
	return c
}

// back is the clock after the recipient's opt-in.
func back(c Consent, at int64, set ...Cause) Consent {
	return c.Take(Effect{At: at, Undoes: causes(set...)})
}

// While the address stays, what moves a clock commutes and may be repeated.
func TestConsentIsAMaximum(t *testing.T) {
	t.Parallel()
	move := rapid.Custom(func(t *rapid.T) func(Consent) Consent {
		at := rapid.Int64Range(1, 4).Draw(t, "at")
		cause := Cause(rapid.IntRange(0, int(NumCauses)-1).Draw(t, "cause"))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return func(c Consent) Consent { return c.Ask(false, at) }
		case 1:
			return func(c Consent) Consent { return c.Ask(true, at) }
		case 2:
			return func(c Consent) Consent { return c.Take(Effect{At: at, Out: true, Cause: cause}) }
		default:
			return func(c Consent) Consent { return c.Take(Effect{At: at, Undoes: undoes(SMSChannel, Start)}) }
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		moves := rapid.SliceOfN(move, 1, 8).Draw(t, "moves")
		var want, got Consent
		for _, m := range moves {
			want = m(want)
		}
		for _, m := range append(rapid.Permutation(moves).Draw(t, "other order"), moves...) {
			got = m(got)
		}
		if got != want {
			t.Fatalf("order or repetition counts: %+v, %+v", got, want)
		}
	})
}

func TestFoldConsent(t *testing.T) {
	t.Parallel()
	stop := epoch.Add(30 * time.Second) // the first write is accepted at epoch + 1 minute
	stopped := func(b *bundle) { b.contacts[b.ref].SMSConsent = said(KeywordStop, stop.UnixMicro()) }
	tests := map[string]struct {
		prepare func(b *bundle)
		write   func(w *Write)
		changes []string
		skipped []Skip
	}{
		"a plain opt-in after a STOP": {
			stopped, func(w *Write) { w.Patch.SMSUnsubscribed = new(false) },
			[]string{`sms_unsubscribed set true false`, `sms_unsubscribed_reason set "keyword_stop" null`},
			nil,
		},
		"a sync row from before the STOP": {
			stopped, func(w *Write) {
				w.Patch.SMSUnsubscribed, w.AsOf = new(false), epoch
				w.Patch.SetText(JobTitle, new("CEO"))
			}, []string{`job_title set null "CEO"`}, []Skip{{"sms_unsubscribed", SkipNewerConsent}},
		},
		"as_of in the future counts as acceptance": {
			func(b *bundle) { b.contacts[b.ref].SMSConsent.Out[KeywordStop] = epoch.Add(time.Minute).UnixMicro() },
			func(w *Write) { w.Patch.SMSUnsubscribed, w.AsOf = new(false), epoch.Add(time.Hour) },
			[]string{},
			[]Skip{{"sms_unsubscribed", SkipNewerConsent}},
		},
		"a retry keeps its time": {
			stopped, func(w *Write) {
				w.Patch.SMSUnsubscribed, w.RetryOf, w.RetryAcceptedAt = new(false), idOf(5), epoch
			}, []string{}, []Skip{{"sms_unsubscribed", SkipNewerConsent}},
		},
		"an opt-out older than an opt-in": {
			func(b *bundle) { b.contacts[b.ref].SMSConsent.In = stop.UnixMicro() },
			func(w *Write) { w.Patch.SMSUnsubscribed, w.AsOf = new(true), epoch },
			[]string{},
			[]Skip{{"sms_unsubscribed", SkipNewerConsent}},
		},
		"an opt-out from before 1970": {
			func(*bundle) {}, func(w *Write) { w.Patch.SMSUnsubscribed, w.AsOf = new(true), time.Unix(-1e9, 0) },
			[]string{`sms_unsubscribed set false true`, `sms_unsubscribed_reason set null "manual"`},
			nil,
		},
		"an equal value moves the clock alone": {
			stopped, func(w *Write) { w.Patch.SMSUnsubscribed = new(true) }, []string{}, nil,
		},
		"a new number takes the provider's block along": {
			func(b *bundle) {
				b.contacts[b.ref].SMSConsent.Out[ProviderSuppressed] = stop.UnixMicro()
			},
			func(w *Write) { w.Patch.SetText(Phone, new("+31687654321")) },
			[]string{
				`phone set "+31612345678" "+31687654321"`,
				`sms_unsubscribed set true false`, `sms_unsubscribed_reason set "provider_suppressed" null`,
			},
			nil,
		},
		"a new number keeps the STOP": {
			stopped, func(w *Write) { w.Patch.SetText(Phone, nil) }, []string{`phone set "+31612345678" null`}, nil,
		},
		"the same address in another case keeps its bounce": {
			func(b *bundle) { b.contacts[b.ref].EmailConsent.Out[HardBounce] = stop.UnixMicro() },
			func(w *Write) { w.Patch.SetText(Email, new("JO@x.org")) },
			[]string{`email set "jo@x.org" "JO@x.org"`},
			nil,
		},
		"a new address shows the reason behind the bounce": {
			func(b *bundle) {
				b.contacts[b.ref].EmailConsent.Out[HardBounce] = stop.UnixMicro()
				b.contacts[b.ref].EmailConsent.Out[Complaint] = epoch.UnixMicro()
			},
			func(w *Write) { w.Patch.SetText(Email, new("new@x.org")) },
			[]string{`email set "jo@x.org" "new@x.org"`, `email_unsubscribed_reason set "hard_bounce" "complaint"`},
			nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup()
			tt.prepare(b)
			o := b.apply(tt.write)
			diff(t, "changes", tt.changes, changesOf(o))
			diff(t, "skipped", tt.skipped, o.Skipped)
		})
	}
}

// A clock that moves without a visible change is stored, and nothing else.
func TestFoldStoresAMovedClock(t *testing.T) {
	t.Parallel()
	b := setup()
	out := b.fold([]Entry{b.patch(func(w *Write) { w.Patch.SMSUnsubscribed = new(false) })})
	if len(out.Updated) != 1 || out.Outcomes[0].State != Unchanged || out.Updated[0].Version != 1 {
		t.Fatalf("folded %+v", out)
	}
	c := b.contacts[b.ref]
	if c.SMSConsent.In != epoch.Add(time.Minute).UnixMicro() || !c.UpdatedAt.Equal(epoch) {
		t.Errorf("clock %+v, updated %s", c.SMSConsent, c.UpdatedAt)
	}
}
