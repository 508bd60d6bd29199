package signature

import (
	"strconv"
	"strings"
	"time"
)

// stamp is a time of a provider and how fine it is.
type stamp struct {
	at    time.Time
	whole bool
}

// oldest is the first moment that an event can have: what is older is a zero
// or a unit mistaken, and counts as no time at all.
func oldest() time.Time { return time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) }

// isoTime reads RFC 3339 with any number of fraction digits.
func isoTime(s string) stamp {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return stamp{}
	}
	return stamp{at: t.UTC(), whole: !strings.Contains(s, ".")}
}

// unixTime reads seconds since the epoch, with or without a fraction.
func unixTime(s string) stamp {
	whole, fraction, fine := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return stamp{}
	}
	var nanos int64
	if fine {
		digits := (fraction + "000000000")[:9]
		if nanos, err = strconv.ParseInt(digits, 10, 64); err != nil || nanos < 0 {
			return stamp{}
		}
	}
	return stamp{at: time.Unix(seconds, nanos).UTC(), whole: !fine}
}

// anyTime reads either of the two.
func anyTime(s string) stamp {
	if t := isoTime(s); !t.at.IsZero() {
		return t
	}
	return unixTime(s)
}

// milliTime reads milliseconds since the epoch, or seconds where the number is
// too small for that.
func milliTime(s string) stamp {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n <= 0:
		return stamp{}
	case n < 100_000_000_000:
		return stamp{at: time.Unix(n, 0).UTC(), whole: true}
	default:
		return stamp{at: time.UnixMilli(n).UTC()}
	}
}

// believe drops a time that cannot be: too far in the future, or before any
// provider existed. Such an event happened when it arrived.
func (s stamp) believe(received time.Time) stamp {
	if s.at.After(received.Add(futureSkew)) || s.at.Before(oldest()) {
		return stamp{}
	}
	return s
}

// signedAt reads the whole seconds of a signed header, which is no event time:
// it MUST be digits alone.
func signedAt(s string) (time.Time, bool) {
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil || seconds <= 0 || seconds > 1<<40 || s[0] == '+' {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}
