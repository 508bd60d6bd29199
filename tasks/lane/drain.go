package lane

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// maxAcceptedAt is the first microsecond of the year 10000: no later time can
// be written in RFC 3339.
const maxAcceptedAt = 253_402_300_800_000_000

var errNoPayload = errors.New("entry has no payload")

// Enter takes the lane's lease for the drain that token names, called by the
// bell of generation gen. False means that there is nothing to do: a live drain
// owns the lane, or the generation was served.
func (l *Lanes) Enter(
	ctx context.Context, lane contact.Lane, gen int64, token string,
) (bool, error) {
	n, err := l.run(ctx, l.scripts.enter, lane, gen, token, OwnerTTL.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("enter lane %s: %w", lane, err)
	}
	return n == 1, nil
}

// Renew lengthens the lease. False means that it is lost: the drain MUST stop.
func (l *Lanes) Renew(ctx context.Context, lane contact.Lane, token string) (bool, error) {
	n, err := l.run(ctx, l.scripts.renew, lane, token, OwnerTTL.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("renew lease of lane %s: %w", lane, err)
	}
	return n == 1, nil
}

// Leave gives the lease back. If entries remain, next is the generation to ring
// for. With a pause nobody rings for that long (at most ClaimTTL), then the
// sweep does; next is 0. Leaving a lane that is not the drain's own changes
// nothing.
func (l *Lanes) Leave(
	ctx context.Context, lane contact.Lane, token string, pause time.Duration,
) (next int64, err error) {
	pause = min(max(pause, 0), ClaimTTL)
	next, err = l.run(ctx, l.scripts.leave, lane,
		token, ClaimTTL.Milliseconds(), pause.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("leave lane %s: %w", lane, err)
	}
	return next, nil
}

// Read returns up to limit entries from the head of the lane, fewer when they are
// large, never none while the lane holds any but of a pause. On an empty lane it waits for the
// block time, if that is above zero. An entry that cannot be read comes back with
// its Poison, at its place.
func (l *Lanes) Read(
	ctx context.Context, lane contact.Lane, limit int, block time.Duration,
) ([]contact.Entry, error) {
	entries, err := l.head(ctx, lane, limit)
	if err != nil || len(entries) > 0 || block <= 0 {
		return entries, err
	}
	// The wait starts from 0-0, not from the tail: what came between the two
	// commands ends it at once. Its one entry is read again with the others.
	err = l.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{logKey(lane), "0-0"},
		Count:   1,
		Block:   max(block, time.Millisecond),
	}).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for lane %s: %w", lane, err)
	}
	return l.head(ctx, lane, limit)
}

func (l *Lanes) head(ctx context.Context, lane contact.Lane, limit int) ([]contact.Entry, error) {
	reply, err := l.run(ctx, l.scripts.read, lane, max(limit, 1), l.cfg.ReadBytes, asideLimit).Slice()
	if err != nil {
		return nil, fmt.Errorf("read lane %s: %w", lane, err)
	}
	if len(reply) != 2 {
		return nil, fmt.Errorf("read lane %s: reply of %d elements", lane, len(reply))
	}
	aside, _ := reply[0].(int64)
	list, _ := reply[1].([]any)
	entries := make([]contact.Entry, 0, len(list))
	for _, item := range list {
		e, err := parseEntry(item)
		if err != nil {
			return nil, fmt.Errorf("read lane %s: %w", lane, err)
		}
		e.Aside = aside == 1
		entries = append(entries, e)
	}
	return entries, nil
}

// Trim removes the entries from the lane. It MUST be called with the head of the
// lane, in order, and only after its outcomes were committed. Calling it again
// changes nothing.
func (l *Lanes) Trim(ctx context.Context, lane contact.Lane, applied []contact.Entry) error {
	if len(applied) == 0 {
		return nil
	}
	if applied[0].Aside {
		return l.release(ctx, lane, applied)
	}
	args := make([]any, 0, 3*len(applied))
	for i := len(applied) - 1; i >= 0; i-- {
		e := &applied[i]
		args = append(args, e.String(), standsAs(e), after(e.Offset))
	}
	if err := l.run(ctx, l.scripts.trim, lane, args...).Err(); err != nil {
		return fmt.Errorf("trim lane %s: %w", lane, err)
	}
	return nil
}

// standsAs returns the bytes that name an entry in the stream: those of its
// write id, as far as it has them.
func standsAs(e *contact.Entry) []byte {
	if len(e.Raw) == 0 && e.Poison == nil {
		return e.ID[:]
	}
	return e.Raw[min(1, len(e.Raw)):min(17, len(e.Raw))]
}

// after returns the smallest stream id above o, or "" if there is none.
func after(o contact.Offset) string {
	switch {
	case o.Seq < math.MaxUint64:
		o.Seq++
	case o.Ms < math.MaxUint64:
		o = contact.Offset{Ms: o.Ms + 1}
	default:
		return ""
	}
	return o.String()
}

// parseEntry reads one element of a range reply. An error means that the reply
// is none; a bad entry is no error but poison.
func parseEntry(item any) (contact.Entry, error) {
	pair, _ := item.([]any)
	if len(pair) != 2 {
		return contact.Entry{}, fmt.Errorf("parse entry: %T of %d elements", item, len(pair))
	}
	id, _ := pair[0].(string)
	fields, _ := pair[1].([]any)
	offset, err := contact.ParseOffset(id)
	if err != nil {
		return contact.Entry{}, fmt.Errorf("parse entry: %w", err)
	}
	var stamp, payload string
	for i := 0; i+1 < len(fields); i += 2 {
		value, _ := fields[i+1].(string)
		switch fields[i] {
		case "t":
			stamp = value
		case "e":
			payload = value
		}
	}
	return decodeEntry(offset, stamp, []byte(payload)), nil
}

// decodeEntry never fails: what it cannot read is poison, whose failure is
// recorded and which costs its neighbours nothing.
func decodeEntry(offset contact.Offset, stamp string, raw []byte) contact.Entry {
	e := contact.Entry{Offset: offset, Raw: raw}
	if len(raw) == 0 {
		e.Poison = errNoPayload
		return e
	}
	us, err := strconv.ParseInt(stamp, 10, 64)
	if err == nil && (us <= 0 || us >= maxAcceptedAt) {
		err = strconv.ErrRange
	}
	if err != nil {
		e.Poison = fmt.Errorf("read accepted_at: %w", err)
		return e
	}
	if e.Poison = e.Decode(time.UnixMicro(us).UTC()); e.Poison != nil {
		return contact.Entry{Offset: offset, Raw: raw, Poison: e.Poison}
	}
	return e
}
