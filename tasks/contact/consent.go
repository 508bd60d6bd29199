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

// Consent is the clock of one channel: for every cause the newest opt-out, and
// the newest opt-ins. Every member is a time in microseconds since the epoch,
// 0 for never, and only ever grows; two clocks merge by taking each maximum, so
// order, retry and replay of what moved them cannot matter.
type Consent struct {
	// Out is the newest opt-out by cause.
	Out [NumCauses]int64
	// In is the newest opt-in by a PATCH or by the API. It outdates every
	// cause that is strictly older.
	In int64
	// Start is the newest START or re-subscription by the recipient. It
	// outdates only what the recipient may undo.
	Start int64
}

// startUndoes tells which causes a recipient's own re-subscription outdates:
// never a complaint, never a hard bounce.
func startUndoes(c Cause) bool {
	return c != Complaint && c != HardBounce
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
	t := c.Out[k]
	return t != 0 && t >= c.In && (!startUndoes(k) || t >= c.Start)
}

// Ask returns the clock after a PATCH or the API asked, at a time in
// microseconds, to opt the channel out or in.
func (c Consent) Ask(optOut bool, at int64) Consent {
	if optOut {
		c.Out[Manual] = max(c.Out[Manual], at)
	} else {
		c.In = max(c.In, at)
	}
	return c
}

// Readdress returns the clock after the channel's address changed: what
// belongs to the address leaves with it, what the person said stays.
func (c Consent) Readdress() Consent {
	c.Out[HardBounce], c.Out[ProviderSuppressed] = 0, 0
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

// Merge takes the maximum of every member.
func (c Consent) Merge(o Consent) Consent {
	for k := range c.Out {
		c.Out[k] = max(c.Out[k], o.Out[k])
	}
	c.In, c.Start = max(c.In, o.In), max(c.Start, o.Start)
	return c
}
