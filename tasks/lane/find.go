package lane

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

const (
	// findChunk is how many entries one script looks at: few enough that it
	// holds Redis for less than a millisecond or so.
	findChunk = 500
	// findSkew is how far the clocks of Redis and of an API may be apart for the
	// first look, findMargin for the second.
	findSkew   = time.Second
	findMargin = 2 * time.Hour
)

// Find looks for a queued write of an account by its id alone. The id carries
// the lane and the time of minting, so the search starts there; only if nothing
// is found does it look at the two hours before, for an API whose clock runs
// ahead of Redis'.
func (l *Lanes) Find(
	ctx context.Context, account, writeID uuid.UUID,
) (contact.Entry, bool, error) {
	lane, ours := contact.LaneOfWrite(writeID)
	if !ours || !l.has(lane) {
		return contact.Entry{}, false, nil
	}
	minted := contact.TimeOfWrite(writeID)
	near := streamTime(minted.Add(-findSkew))
	e, found, err := l.findBetween(ctx, lane, near, "+", account, writeID)
	if err != nil || found {
		return e, found, err
	}
	far := streamTime(minted.Add(-findMargin))
	e, found, err = l.findBetween(ctx, lane, far, "("+near, account, writeID)
	if err != nil || found {
		return e, found, err
	}
	// Entries go aside and never come back, so looking there last misses none.
	return l.findAside(ctx, lane, far, account, writeID)
}

// findAside looks among the entries of a paused account.
func (l *Lanes) findAside(
	ctx context.Context, lane contact.Lane, from string, account, writeID uuid.UUID,
) (contact.Entry, bool, error) {
	keys := drainKeys(lane)
	keys[0] = asideKey(lane, account)
	return l.findIn(ctx, keys, lane, from, "+", account, writeID)
}

// findBetween goes through one stretch of the lane, chunk by chunk.
func (l *Lanes) findBetween(
	ctx context.Context, lane contact.Lane, from, to string, account, writeID uuid.UUID,
) (contact.Entry, bool, error) {
	return l.findIn(ctx, drainKeys(lane), lane, from, to, account, writeID)
}

// findIn looks into the stream that is the first of the keys.
func (l *Lanes) findIn(
	ctx context.Context, keys []string, lane contact.Lane, from, to string, account, writeID uuid.UUID,
) (contact.Entry, bool, error) {
	head := string(writeID[:]) + string(account[:])
	for {
		reply, err := l.scripts.find.Run(ctx, l.rdb, keys, from, to, findChunk, head).Slice()
		if err != nil {
			return contact.Entry{}, false, unavailable(fmt.Errorf("find write in lane %s: %w", lane, err))
		}
		switch len(reply) {
		case 0:
			return contact.Entry{}, false, nil
		case 1:
			e, err := parseEntry(reply[0])
			if err != nil {
				return contact.Entry{}, false, fmt.Errorf("find write in lane %s: %w", lane, err)
			}
			return e, true, nil
		}
		next, isString := reply[1].(string)
		if !isString {
			return contact.Entry{}, false, fmt.Errorf("find write in lane %s: reply %T", lane, reply[1])
		}
		from = next
	}
}

// has tells whether the lane is one of ours: an id may carry any number.
func (l *Lanes) has(lane contact.Lane) bool {
	if lane.Kind == 'a' {
		return lane.N < l.cfg.Counts.Address
	}
	return lane.N < l.cfg.Counts.Contact
}

// streamTime returns the smallest stream id of a moment.
func streamTime(t time.Time) string {
	return strconv.FormatInt(max(t.UnixMilli(), 0), 10) + "-0"
}
