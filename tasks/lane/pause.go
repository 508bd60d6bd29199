package lane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// pausesKey names the hash of the pauses in force, for people; what drains obey
// stands in each lane, where their scripts see it at the moment of a step.
const pausesKey = "pauses"

// Pause stops drains; accepting goes on. Everything: the contact lanes rest, or
// with Optouts the address lanes. An account: its entries are put aside, lane by
// lane, when a drain comes to them, and those of all others go on. The batch in
// flight is finished. A pause holds until Resume, whatever is restarted.
//
// Pausing what is paused changes who and why. After an error it may be in force
// in a part of the lanes: repeat it.
func (l *Lanes) Pause(ctx context.Context, p contact.Pause) error {
	p.At = l.cfg.Now().UTC().Truncate(time.Microsecond)
	record, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	// The record first: a lane that rests without one would be a riddle.
	if err := l.rdb.HSet(ctx, pausesKey, pauseName(p), record).Err(); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	err = l.eachPaused(ctx, p, func(pipe redis.Pipeliner, key, field string) { pipe.HSet(ctx, key, field, "1") })
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	l.cfg.Logger.WarnContext(ctx, "drains paused",
		"account_id", p.Account.String(), "optouts", p.Optouts, "by", p.By, "reason", p.Reason)
	return nil
}

// Resume ends a pause, of which only the scope counts. Within a second or two
// the sweep rings for the lanes; entries aside are applied before any newer one of
// their account. Resuming what is not paused changes nothing.
func (l *Lanes) Resume(ctx context.Context, p contact.Pause) error {
	err := l.eachPaused(ctx, p, func(pipe redis.Pipeliner, key, field string) { pipe.HDel(ctx, key, field) })
	if err == nil {
		err = l.rdb.HDel(ctx, pausesKey, pauseName(p)).Err()
	}
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	l.cfg.Logger.WarnContext(ctx, "drains go on", "account_id", p.Account.String(), "optouts", p.Optouts, "by", p.By)
	return nil
}

// Pauses lists what is paused, the oldest first.
func (l *Lanes) Pauses(ctx context.Context) ([]contact.Pause, error) {
	records, err := l.rdb.HVals(ctx, pausesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list pauses: %w", err)
	}
	pauses := make([]contact.Pause, len(records))
	var errs []error
	for i, r := range records {
		errs = append(errs, json.Unmarshal([]byte(r), &pauses[i]))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("list pauses: %w", err)
	}
	slices.SortFunc(pauses, func(a, b contact.Pause) int { return a.At.Compare(b.At) })
	return pauses, nil
}

// pauseName is the field of a pause.
func pauseName(p contact.Pause) string {
	switch {
	case p.Account != uuid.Nil:
		return p.Account.String()
	case p.Optouts:
		return "optouts"
	default:
		return "writes"
	}
}

// eachPaused does something to the mark of a pause in every lane that it is for.
func (l *Lanes) eachPaused(ctx context.Context, p contact.Pause, do func(pipe redis.Pipeliner, key, field string)) error {
	kind, field := byte('c'), "*"
	if p.Account != uuid.Nil {
		field = string(p.Account[:])
	} else if p.Optouts {
		kind = 'a'
	}
	pipe := l.rdb.Pipeline()
	for _, lane := range l.All() {
		if lane.Kind == kind {
			do(pipe, pausedKey(lane), field)
		}
	}
	_, err := pipe.Exec(ctx)
	return err
}

// release removes applied entries that stood aside. They are of one account.
func (l *Lanes) release(ctx context.Context, lane contact.Lane, applied []contact.Entry) error {
	account := standsFor(&applied[0])
	args := make([]any, 0, 1+2*len(applied))
	args = append(args, account)
	for i := range applied {
		e := &applied[i]
		args = append(args, e.String(), standsAs(e))
	}
	if err := l.run(ctx, l.scripts.release, lane, args...).Err(); err != nil {
		return fmt.Errorf("release lane %s: %w", lane, err)
	}
	return nil
}

// standsFor returns the bytes that name the account of an entry in the stream.
func standsFor(e *contact.Entry) []byte {
	if len(e.Raw) == 0 {
		return e.Account[:]
	}
	return e.Raw[min(17, len(e.Raw)):min(33, len(e.Raw))]
}
