package contact

import "time"

// Cause is why a channel of a contact is opted out.
type Cause uint8

// The causes. Their order is the precedence of the reported reason when two
// causes carry the same time.
const (
	KeywordStop Cause = iota
	Complaint
	Unsubscribe
	HardBounce
	ProviderSuppressed
	Manual

	// NumCauses is the number of causes.
	NumCauses
)

// String returns the value of `*_unsubscribed_reason`.
func (c Cause) String() string {
	switch c {
	case KeywordStop:
		return "keyword_stop"
	case Complaint:
		return "complaint"
	case Unsubscribe:
		return "unsubscribe"
	case HardBounce:
		return "hard_bounce"
	case ProviderSuppressed:
		return "provider_suppressed"
	case Manual:
		return "manual"
	default:
		return "unknown"
	}
}

// ParseCause reads what String wrote.
func ParseCause(s string) (Cause, bool) {
	for c := range NumCauses {
		if c.String() == s {
			return c, true
		}
	}
	return 0, false
}

// Consent is the clock of one channel of a contact, or of one address (see
// Hear). Every member is a time in microseconds since the epoch, 0 for never.
//
// Of a contact all times are those of acceptance, or what a PATCH says with
// as_of: a STOP that reaches us late still beats a sync row that was accepted
// before it came. While the address stays, a member only ever grows, so order,
// retry and replay of what moved the clock cannot matter.
type Consent struct {
	// Out is the newest opt-out by cause. In, the newest opt-in by a PATCH or by
	// the API, outdates every cause whose Out is strictly older.
	Out [NumCauses]int64
	In  int64
	// Said is the newest opt-out by cause as the recipient's own opt-ins see it,
	// and Back the newest of these that may undo the cause: it outdates a cause
	// that was said strictly before.
	Said [NumCauses]int64
	Back [NumCauses]int64
	// Given is when the contact got its address: an older opt-out of that address
	// is as new to the contact as the address.
	Given int64
}

// Standing returns the cause that opts the channel out and its time, or false
// when the channel is subscribed. At equal times the opt-out wins. Of several
// standing causes the newest is the reason, but Manual only where it stands
// alone: a PATCH that repeats what a provider reported changes nothing that
// can be seen.
func (c Consent) Standing() (cause Cause, at time.Time, out bool) {
	var newest int64
	for k := range NumCauses {
		if k != Manual && c.stands(k) && c.Out[k] > newest {
			cause, newest, out = k, c.Out[k], true
		}
	}
	if !out && c.stands(Manual) {
		cause, newest, out = Manual, c.Out[Manual], true
	}
	return cause, time.UnixMicro(newest).UTC(), out
}

// stands tells whether a cause is not outdated.
func (c Consent) stands(k Cause) bool {
	return c.Out[k] != 0 && c.Out[k] >= c.In && c.Said[k] >= c.Back[k]
}

// Ask returns the clock after a PATCH or the API asked, at a time in
// microseconds, to opt the channel out or in.
func (c Consent) Ask(optOut bool, at int64) Consent {
	if optOut {
		c.Out[Manual] = max(c.Out[Manual], at)
		c.Said[Manual] = max(c.Said[Manual], at)
	} else {
		c.In = max(c.In, at)
	}
	return c
}

// locks tells whether an opt-in at a time would undo a complaint or a hard
// bounce.
func (c Consent) locks(at int64) bool {
	for _, k := range []Cause{Complaint, HardBounce} {
		if c.stands(k) && c.Out[k] < at {
			return true
		}
	}
	return false
}

// Readdress returns the clock after the channel's address changed at a time.
// What belongs to the address leaves with it, what the person said stays. An
// opt-in of the old address that is older than the change has done its work for
// good, a younger one was not this contact's and is forgotten; one of the new
// address counts against what was said before only if it is younger, too.
func (c Consent) Readdress(at int64) Consent {
	for k := range NumCauses {
		undone := c.Back[k] < at && c.Said[k] < c.Back[k]
		if undone || k == HardBounce || k == ProviderSuppressed {
			c.Out[k], c.Said[k] = 0, 0
		}
		c.Back[k] = 0
		if c.Out[k] != 0 {
			c.Said[k] = max(c.Said[k], at)
		}
	}
	c.Given = 0
	return c
}

// Inherit returns the clock after the contact got, at a time, an address with
// a clock of its own: what stands there stands here too, whatever the contact
// asked for until then.
func (c Consent) Inherit(address Consent, at int64) Consent {
	for k := range NumCauses {
		if address.stands(k) {
			c.Out[k] = max(c.Out[k], address.Out[k], at)
			c.Said[k] = max(c.Said[k], address.Out[k])
		}
	}
	return c
}
