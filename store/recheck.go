package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// A batch of writes gives a contact an address while an event of that address
// is applied: neither transaction sees the other, and the contact would have the
// address without being opted out. So the batch stores what it gave in
// lanes.recheck and looks at the suppressions again after its commit. The event
// commits its suppression before it looks for contacts, so one of the two sees
// the other. Whoever takes the lane over does an unfinished look first.

// errRechecked says that a recheck was made instead of the batch, which is to
// be begun again.
var errRechecked = errors.New("an earlier batch was rechecked first")

// rechecks remembers, by lane, the offset of the batch whose look is done.
type rechecks struct {
	mu   sync.Mutex
	done map[contact.Lane]contact.Offset
}

func (r *rechecks) isDone(lane contact.Lane, at contact.Offset) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, ok := r.done[lane]
	return ok && done == at
}

func (r *rechecks) set(lane contact.Lane, at contact.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[lane] = at
}

func (r *rechecks) forget(lane contact.Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.done, lane)
}

// givenJSON is the stored form of a contact.Given.
type givenJSON struct {
	Account uuid.UUID `json:"a"`
	Contact uuid.UUID `json:"c"`
	Channel string    `json:"n"`
	Key     string    `json:"k"`
	At      int64     `json:"t"`
}

// recheckJSON is what lanes.recheck keeps; nil for nothing.
func recheckJSON(given []contact.Given) *string {
	if len(given) == 0 {
		return nil
	}
	list := make([]givenJSON, len(given))
	for i, g := range given {
		list[i] = givenJSON{
			Account: g.Account, Contact: g.Contact.ID, Channel: g.Channel.String(), Key: g.Key, At: g.At,
		}
	}
	return jsonText(list)
}

// parseRecheck reads what recheckJSON wrote.
func parseRecheck(b []byte) ([]contact.Given, error) {
	var list []givenJSON
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read recheck: %w", err)
	}
	given := make([]contact.Given, len(list))
	for i, g := range list {
		ch, _ := contact.ParseChannel(g.Channel)
		given[i] = contact.Given{
			Address: contact.Address{Account: g.Account, Channel: ch, Key: g.Key},
			Contact: contact.Ref{Account: g.Account, ID: g.Contact}, At: g.At,
		}
	}
	return given, nil
}

// recheckFirst makes the look that the lane still owes. Then the batch is to be
// begun anew, with the transaction that stands rolled back.
func (s *Store) recheckFirst(ctx context.Context, tx *laneTx, b *batch) error {
	if b.recheck == nil || s.rechecks.isDone(b.lane, b.old) {
		return nil
	}
	given, err := parseRecheck(b.recheck)
	if err != nil {
		return err
	}
	tx.rollback(ctx)
	if err := s.recheckGiven(ctx, b.lane, b.old, given); err != nil {
		return err
	}
	s.rechecks.set(b.lane, b.old)
	return errRechecked
}

// recheckGiven looks up the addresses that a committed batch gave to contacts.
// Making the look again changes nothing.
func (s *Store) recheckGiven(
	ctx context.Context, lane contact.Lane, at contact.Offset, given []contact.Given,
) error {
	if len(given) == 0 {
		return nil
	}
	// A batch that does not move the offset must not be taken for the one before.
	s.rechecks.forget(lane)
	addresses := make([]contact.Address, len(given))
	for i := range given {
		addresses[i] = given[i].Address
	}
	readCtx, cancel := withDeadline(ctx, stepRecheck, stepTimeout)
	defer cancel()
	start := time.Now()
	spelled := s.spell(addresses)
	rows, err := s.poolOf(lane).Query(readCtx, suppressedSQL, addressArgs(spelled.all)...)
	if err != nil {
		return stepError(readCtx, stepRecheck, err)
	}
	found, err := spelled.collect(rows)
	if err != nil {
		return stepError(readCtx, stepRecheck, err)
	}
	s.metrics.step.WithLabelValues(stepRecheck).Observe(time.Since(start).Seconds())
	if err := s.optOutGiven(ctx, lane, given, found); err != nil {
		return err
	}
	s.rechecks.set(lane, at)
	return nil
}

// optOutGiven opts the contacts out that have a suppressed address.
func (s *Store) optOutGiven(
	ctx context.Context, lane contact.Lane, given []contact.Given,
	found map[contact.Address]contact.Suppression,
) error {
	var touches []contact.Touch
	for i := range given {
		if sup, suppressed := found[given[i].Address]; suppressed {
			touches = append(touches, contact.Touch{Contact: given[i].Contact, Suppression: &sup, At: given[i].At})
		}
	}
	if len(touches) == 0 {
		return nil
	}
	_, err := s.redo(ctx, "recheck lane "+lane.String(), func(ctx context.Context, wait bool) (none contact.AppliedBatch, err error) {
		tx, err := s.beginLane(ctx, lane, wait)
		if err != nil {
			return none, err
		}
		defer tx.rollback(ctx)
		n, err := tx.project(ctx, touches)
		if err != nil {
			return none, err
		}
		if err := tx.commit(ctx); err != nil {
			return none, err
		}
		s.metrics.rechecked.Add(float64(n))
		return none, nil
	})
	return err
}

// suppressedSQL asks which of some addresses are suppressed.
const suppressedSQL = `SELECT s.account_id, s.channel, s.address, s.clock, s.events
	FROM unnest($1::uuid[], $2::text[], $3::text[]) AS k (account_id, channel, address)
	JOIN suppressions s ON s.account_id = k.account_id AND s.channel = k.channel AND s.address = k.address
	WHERE s.suppressed`

// addressArgs are the columns of some addresses.
func addressArgs(list []contact.Address) []any {
	accounts, channels, keys := make(idColumn, len(list)), make([]string, len(list)), make([]string, len(list))
	for i, a := range list {
		accounts[i], channels[i], keys[i] = idValue(a.Account), a.Channel.String(), a.Key
	}
	return []any{accounts, channels, keys}
}

// scanSuppression reads the columns of suppressedSQL, and whatever the query
// adds to them.
func scanSuppression(row pgx.Row, more ...any) (contact.Suppression, error) {
	var s contact.Suppression
	var channel string
	var clock []int64
	var events idColumn
	dest := append(make([]any, 0, 7), scanID(&s.Account), &channel, &s.Key, &clock, &events)
	if err := row.Scan(append(dest, more...)...); err != nil {
		return s, fmt.Errorf("scan suppression: %w", err)
	}
	s.Channel, _ = contact.ParseChannel(channel)
	s.Clock = clockOf(clock)
	for i := range min(len(events), len(s.Events)) {
		s.Events[i] = events[i].Bytes
	}
	s.Stand()
	return s, nil
}

// collect reads the answer to suppressedSQL.
func (p spellings) collect(rows pgx.Rows) (map[contact.Address]contact.Suppression, error) {
	defer rows.Close()
	found := map[contact.Address]contact.Suppression{}
	for rows.Next() {
		s, err := scanSuppression(rows)
		if err != nil {
			return nil, err
		}
		p.add(found, s)
	}
	return found, wrap("look for suppressions", rows.Err())
}

// queueSuppressed asks for the suppressions of the addresses that the bodies
// give, if they give any.
func (b *batch) queueSuppressed(q *pgx.Batch) {
	var addresses []contact.Address
	for i := range b.entries {
		e := &b.entries[i]
		if v, _ := e.Patch.Text(contact.Email); v != nil {
			addresses = append(addresses, contact.Address{
				Account: e.Account, Channel: contact.EmailChannel, Key: contact.EmailKey(*v),
			})
		}
		if v, _ := e.Patch.Text(contact.Phone); v != nil {
			addresses = append(addresses, contact.Address{
				Account: e.Account, Channel: contact.SMSChannel, Key: contact.PhoneKey(*v),
			})
		}
	}
	if len(addresses) == 0 {
		return
	}
	spelled := b.spell(addresses)
	q.Queue(suppressedSQL, addressArgs(spelled.all)...).Query(func(rows pgx.Rows) error {
		found, err := spelled.collect(rows)
		if err != nil {
			return dataError("look for suppressions", err)
		}
		b.suppressed = found
		return nil
	})
}
