package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"patchlane/store"
)

// retainConfig says how long data is kept.
type retainConfig struct {
	Retain       span `name:"retain" env:"PATCHLANE_RETAIN" group:"worker" default:"0" placeholder:"400d" help:"How long the ledger and audit log of writes is kept, in days (400d) or hours (9600h), at least 7d; whole months go. 0: for ever. Failed writes are kept until somebody settles them."`
	RetainEvents span `name:"retain-events" env:"PATCHLANE_RETAIN_EVENTS" group:"worker" default:"0" placeholder:"1500d" help:"How long events of providers, quarantine and decided reviews are kept, at least 7d. 0: for ever. An event that a suppression cites stays."`
}

// checkRetain refuses a life that replays and retries would outlive.
func (c retainConfig) checkRetain() error {
	var problems []error
	for _, r := range []struct {
		flag string
		life span
	}{{"retain", c.Retain}, {"retain-events", c.RetainEvents}} {
		if r.life != 0 && time.Duration(r.life) < store.MinRetain {
			problems = append(problems, fmt.Errorf("--%s: %s is below 7d; 0 keeps for ever", r.flag, r.life))
		}
	}
	return errors.Join(problems...)
}

func (c retainConfig) retention() store.Retention {
	return store.Retention{Writes: time.Duration(c.Retain), Events: time.Duration(c.RetainEvents)}
}

// span is a duration that may be given in days.
type span time.Duration

const day = 24 * time.Hour

// UnmarshalText reads 400d, or what time.ParseDuration reads.
func (s *span) UnmarshalText(text []byte) error {
	if days, found := strings.CutSuffix(string(text), "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		*s = span(n) * span(day)
		if err != nil {
			return fmt.Errorf("%q is no number of days", text)
		}
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 400d or 9600h", text)
	}
	*s = span(d)
	return nil
}

// String writes whole days as days.
func (s span) String() string {
	if d := time.Duration(s); d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(s).String()
}
