package lane

import (
	"context"
	"encoding/hex"
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
	return l.find(ctx, writeID, account[:], func(lane contact.Lane) ([]string, error) {
		return []string{asideKey(lane, account)}, nil
	})
}

// FindAny is Find for operators, who know no account.
func (l *Lanes) FindAny(ctx context.Context, writeID uuid.UUID) (contact.Entry, bool, error) {
	return l.find(ctx, writeID, nil, func(lane contact.Lane) ([]string, error) {
		accounts, err := l.rdb.HKeys(ctx, heldKey(lane)).Result()
		if err != nil {
			return nil, unavailable(fmt.Errorf("find write in lane %s: %w", lane, err))
		}
		keys := make([]string, len(accounts))
		for i, a := range accounts {
			keys[i] = heldKey(lane) + ":" + hex.EncodeToString([]byte(a))
		}
		return keys, nil
	})
}

// find looks into the lane, then into the streams aside: entries go aside and
// never come back, so looking there last misses none.
func (l *Lanes) find(
	ctx context.Context, writeID uuid.UUID, account []byte, aside func(contact.Lane) ([]string, error),
) (contact.Entry, bool, error) {
	lane, ours := contact.LaneOfWrite(writeID)
	if !ours || !l.has(lane) {
		return contact.Entry{}, false, nil
	}
	head := string(writeID[:]) + string(account)
	minted := contact.TimeOfWrite(writeID)
	near, far := streamTime(minted.Add(-findSkew)), streamTime(minted.Add(-findMargin))
	e, found, err := l.findIn(ctx, logKey(lane), lane, near, "+", head)
	if err != nil || found {
		return e, found, err
	}
	e, found, err = l.findIn(ctx, logKey(lane), lane, far, "("+near, head)
	if err != nil || found {
		return e, found, err
	}
	keys, err := aside(lane)
	for _, key := range keys {
		if e, found, err = l.findIn(ctx, key, lane, far, "+", head); err != nil || found {
			e.Aside = found
			return e, found, err
		}
	}
	return contact.Entry{}, false, err
}

// findIn goes through one stretch of a stream of the lane, chunk by chunk.
func (l *Lanes) findIn(
	ctx context.Context, stream string, lane contact.Lane, from, to, head string,
) (contact.Entry, bool, error) {
	keys := drainKeys(lane)
	keys[0] = stream
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
