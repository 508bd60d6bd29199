package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

// Suppressions are written by events alone: a POST or DELETE of the API goes
// through the lane of its address like a provider's report.

const suppressionSelect = `SELECT s.account_id, s.channel, s.address, s.clock, s.events,
		coalesce(w.provider, ''), coalesce(w.source, '')
	FROM suppressions s
	LEFT JOIN webhook_events w ON w.account_id = s.account_id AND w.id = s.event_id `

// Suppressions returns a page of the suppressed addresses of an account.
func (s *Store) Suppressions(ctx context.Context, q contact.SuppressionQuery) (contact.SuppressionPage, error) {
	var page contact.SuppressionPage
	if !storable(&q.Key) {
		return page, nil
	}
	where := newConditions()
	where.addText(`s.suppressed`)
	where.add(`s.account_id = ?`, q.Account)
	if q.Channel != 0 {
		where.add(`s.channel = ?`, q.Channel.String())
	}
	if q.Key != "" {
		secret, err := s.loadHashKey(ctx)
		if err != nil {
			return page, err
		}
		channels := []contact.Channel{q.Channel}
		if q.Channel == 0 {
			channels = contact.Channels()
		}
		keys := []string{q.Key}
		for _, ch := range channels {
			keys = append(keys, contact.Address{Account: q.Account, Channel: ch, Key: q.Key}.ErasedKey(secret))
		}
		where.add(`s.address = ANY (?)`, keys)
	}
	if q.After != "" {
		channel, address, err := readAddressCursor(q.After)
		if err != nil {
			return page, err
		}
		where.add(`(s.channel, s.address) > (?, ?)`, channel, address)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, suppressionSelect+`WHERE `+where.text()+
		` ORDER BY s.channel, s.address LIMIT `+where.place(q.Limit+1), where.args...)
	if err != nil {
		return page, readError("list suppressions", err)
	}
	if page.Suppressions, err = pgx.CollectRows(rows, scanListed); err != nil {
		return page, readError("list suppressions", err)
	}
	if page.HasMore = len(page.Suppressions) > q.Limit; page.HasMore {
		page.Suppressions = page.Suppressions[:q.Limit]
		page.Next = writeAddressCursor(page.Suppressions[q.Limit-1].Address)
	}
	return page, nil
}

func scanListed(row pgx.CollectableRow) (contact.Suppression, error) {
	var provider, source string
	s, err := scanSuppression(row, &provider, &source)
	s.Provider, s.Source = provider, contact.Source(source)
	return s, err
}

// Suppression returns what is known about one address, suppressed or not, or
// not_found if nothing ever was.
func (s *Store) Suppression(ctx context.Context, a contact.Address) (contact.Suppression, error) {
	secret, err := s.loadHashKey(ctx)
	if err != nil {
		return contact.Suppression{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, suppressionSelect+`WHERE s.account_id = $1 AND s.channel = $2 AND s.address = ANY ($3)
		ORDER BY s.address = $4 DESC LIMIT 1`,
		a.Account, a.Channel.String(), []string{a.Key, a.ErasedKey(secret)}, a.ErasedKey(secret))
	if err != nil {
		return contact.Suppression{}, readError("read suppression", err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, scanListed)
	return found, readError("read suppression", err)
}

// cursorSuppressions is the kind of cursor of a list by address.
const cursorSuppressions = 's'

func writeAddressCursor(a contact.Address) string {
	return base64.RawURLEncoding.EncodeToString([]byte(string(cursorSuppressions) + a.Channel.String() + "\x00" + a.Key))
}

func readAddressCursor(s string) (channel, address string, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && len(b) > 0 && b[0] == cursorSuppressions {
		text := string(b[1:])
		channel, address, ok := strings.Cut(text, "\x00")
		if ok && storable(&channel, &address) {
			return channel, address, nil
		}
	}
	return "", "", badCursor()
}

// EventByID returns what became of an event, or not_found while it waits in its
// lane. An event that was a report of one known before is not_found as well:
// only the first is kept.
func (s *Store) EventByID(ctx context.Context, account, id uuid.UUID) (contact.EventRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+eventColumnsSQL+`, w.result, w.contacts, w.done, w.applied_at
		FROM webhook_events w WHERE w.account_id = $1 AND w.id = $2`, account, id)
	if err != nil {
		return contact.EventRecord{}, readError("read event", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (r contact.EventRecord, err error) {
		r.Event, err = scanEvent(row, &r.Result, &r.Contacts, &r.Done, &r.AppliedAt)
		r.AppliedAt = r.AppliedAt.UTC()
		return r, err
	})
	return r, readError("read event", err)
}

// eventColumnsSQL is what scanEvent reads, of the table under the name w.
const eventColumnsSQL = `w.account_id, w.dedup, w.id, w.channel, w.address, w.contact_id, w.action,
	coalesce(w.cause, ''), w.reason, w.provider, w.type, w.provider_id, w.endpoint_id, w.decides, w.source, w.actor,
	w.ambiguous, w.at, w.whole_seconds, w.evidence, w.accepted_at`

// scanEvent reads eventColumnsSQL, and whatever the query adds to it.
func scanEvent(row pgx.Row, more ...any) (contact.Event, error) {
	var e contact.Event
	var dedup []byte
	var channel, action, cause, source string
	var named, endpoint, decides *uuid.UUID
	dest := append(make([]any, 0, 25),
		scanID(&e.Account), &dedup, scanID(&e.ID), &channel, &e.Address, &named, &action, &cause, &e.Reason,
		&e.Provider, &e.Type, &e.ProviderID, &endpoint, &decides, &source, &e.Actor, &e.Ambiguous,
		&nullTime{&e.At}, &e.WholeSeconds, &e.Evidence, &e.AcceptedAt,
	)
	if err := row.Scan(append(dest, more...)...); err != nil {
		return e, fmt.Errorf("scan event: %w", err)
	}
	copy(e.Dedup[:], dedup)
	e.Channel, _ = contact.ParseChannel(channel)
	e.Action, _ = contact.ParseAction(action)
	e.Cause, _ = contact.ParseCause(cause)
	e.Source, e.AcceptedAt = contact.Source(source), e.AcceptedAt.UTC()
	for _, id := range []struct {
		from *uuid.UUID
		to   *uuid.UUID
	}{{named, &e.Contact}, {endpoint, &e.Endpoint}, {decides, &e.Decides}} {
		if id.from != nil {
			*id.to = *id.from
		}
	}
	return e, nil
}
