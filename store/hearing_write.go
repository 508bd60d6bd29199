package store

import (
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

const (
	insertEventsSQL = `INSERT INTO webhook_events (account_id, dedup, id, channel, address, contact_id, action, cause,
			reason, provider, type, provider_id, endpoint_id, decides, source, actor, ambiguous, at, whole_seconds,
			evidence, accepted_at, applied_at, result, opts_out, undoes)
		SELECT d.account_id, d.dedup, d.id, d.channel, d.address, d.contact_id, d.action, d.cause,
			d.reason, d.provider, d.type, d.provider_id, d.endpoint_id, d.decides, d.source, d.actor, d.ambiguous,
			d.at, d.whole_seconds, d.evidence::jsonb, d.accepted_at, $25::timestamptz, d.result, d.opts_out, d.undoes
		FROM unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
			$9::text[], $10::text[], $11::text[], $12::text[], $13::uuid[], $14::uuid[], $15::text[], $16::text[],
			$17::boolean[], $18::timestamptz[], $19::boolean[], $20::text[], $21::timestamptz[], $22::text[],
			$23::boolean[], $24::integer[])
		AS d (account_id, dedup, id, channel, address, contact_id, action, cause,
			reason, provider, type, provider_id, endpoint_id, decides, source, actor, ambiguous, at, whole_seconds,
			evidence, accepted_at, result, opts_out, undoes)`

	upsertSuppressionsSQL = `INSERT INTO suppressions
			(account_id, channel, address, clock, events, suppressed, reason, since, event_id, updated_at)
		SELECT d.account_id, d.channel, d.address, d.clock::bigint[], d.events::uuid[], d.suppressed, d.reason,
			d.since, d.event_id, $10::timestamptz
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[],
			$8::timestamptz[], $9::uuid[])
		AS d (account_id, channel, address, clock, events, suppressed, reason, since, event_id)
		ON CONFLICT (account_id, channel, address) DO UPDATE SET clock = excluded.clock, events = excluded.events,
			suppressed = excluded.suppressed, reason = excluded.reason, since = excluded.since,
			event_id = excluded.event_id, updated_at = excluded.updated_at`

	insertReviewsSQL = `INSERT INTO optout_reviews (account_id, id)
		SELECT * FROM unnest($1::uuid[], $2::uuid[]) ON CONFLICT DO NOTHING`

	acceptReviewsSQL = `UPDATE optout_reviews r SET state = 'accepted', decided_at = d.at, decided_by = d.actor
		FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) AS d (account_id, id, actor, at)
		WHERE r.account_id = d.account_id AND r.id = d.id AND r.state <> 'accepted'`

	insertQuarantineSQL = `INSERT INTO quarantine (account_id, id, raw)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) ON CONFLICT DO NOTHING`

	doneSQL = `UPDATE webhook_events w SET done = true
		FROM unnest($1::uuid[], $2::uuid[]) AS d (account_id, id)
		WHERE w.account_id = d.account_id AND w.id = d.id AND NOT w.done`
)

// statements store what is new; none when nothing is.
func (h *hearing) statements() []statement {
	var fresh []*report
	for i := range h.reports {
		if h.reports[i].fresh {
			fresh = append(fresh, &h.reports[i])
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	list := []statement{{op: "insert events", sql: insertEventsSQL, args: h.eventArgs(fresh)}}
	if len(h.changed) > 0 {
		list = append(list, statement{
			op: "upsert suppressions", sql: upsertSuppressionsSQL, args: suppressionArgs(h.changed, h.now),
		})
	}
	return append(list, sideStatements(fresh)...)
}

// sideStatements keep reviews, decisions and quarantine.
func sideStatements(fresh []*report) []statement {
	var reviews, decided, set eventColumns
	for _, r := range fresh {
		switch {
		case r.event.Action == contact.Review:
			reviews.add(r.event, r.event.ID)
		case r.event.Action == contact.Quarantine:
			set.add(r.event, r.event.ID)
			set.raw = append(set.raw, append([]byte{}, r.event.Evidence...))
		case r.event.Decides != uuid.Nil:
			decided.add(r.event, r.event.Decides)
		}
	}
	var list []statement
	if len(reviews.ids) > 0 {
		list = append(list, statement{op: "insert reviews", sql: insertReviewsSQL, args: []any{reviews.accounts, reviews.ids}})
	}
	if len(decided.ids) > 0 {
		list = append(list, statement{op: "accept reviews", sql: acceptReviewsSQL, args: []any{
			decided.accounts, decided.ids, decided.actors, decided.at,
		}})
	}
	if len(set.ids) > 0 {
		list = append(list, statement{op: "insert quarantine", sql: insertQuarantineSQL, args: []any{
			set.accounts, set.ids, set.raw,
		}})
	}
	return list
}

// eventColumns are columns of a few events.
type eventColumns struct {
	accounts, ids idColumn
	actors        []string
	at            []time.Time
	raw           [][]byte
}

func (c *eventColumns) add(e *contact.Event, id uuid.UUID) {
	c.accounts, c.ids = append(c.accounts, idValue(e.Account)), append(c.ids, idValue(id))
	c.actors, c.at = append(c.actors, e.Actor), append(c.at, e.AcceptedAt)
}

// settlement is what the last transaction writes besides the contacts.
func (h *hearing) settlement(unread *batch) []statement {
	list := unread.ledgerStatements()
	var c eventColumns
	for i := range h.reports {
		if r := &h.reports[i]; r.event != nil && !r.done && !r.twin {
			c.add(r.event, r.event.ID)
		}
	}
	if len(c.ids) > 0 {
		list = append(list, statement{op: "mark events", sql: doneSQL, args: []any{c.accounts, c.ids}})
	}
	return append(list, h.advance(nil))
}

// eventArgs are the columns of insertEventsSQL. An address that was erased stays
// so: its events are stored with the hash and without evidence, unless somebody
// has to decide about one.
func (h *hearing) eventArgs(list []*report) []any {
	n := len(list)
	var (
		accounts, ids, contacts            = make(idColumn, n), make(idColumn, n), make(idColumn, n)
		endpoints, decides                 = make(idColumn, n), make(idColumn, n)
		keys                               = make([][]byte, n)
		channels, addresses, actions       = make([]string, n), make([]string, n), make([]string, n)
		reasons, providers, types, sources = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		providerIDs, actors, results       = make([]string, n), make([]string, n), make([]string, n)
		causes, evidence                   = make(textColumn, n), make(textColumn, n)
		ambiguous, whole, out              = make([]bool, n), make([]bool, n), make([]bool, n)
		at, accepted, undoes               = make([]*time.Time, n), make([]time.Time, n), make([]int32, n)
	)
	for i, r := range list {
		e := r.event
		accounts[i], ids[i], contacts[i] = idValue(e.Account), idValue(e.ID), idOrNull(e.Contact)
		endpoints[i], decides[i], keys[i] = idOrNull(e.Endpoint), idOrNull(e.Decides), e.Dedup[:]
		channels[i], addresses[i], actions[i] = e.Channel.String(), e.Address, e.Action.String()
		reasons[i], providers[i], types[i], sources[i] = e.Reason, e.Provider, e.Type, string(e.Source)
		providerIDs[i], actors[i], results[i] = e.ProviderID, e.Actor, r.result
		if e.Action == contact.OptOut || e.Action == contact.Review {
			causes[i] = textOrNull(e.Cause.String())
		}
		if e.Action != contact.Quarantine {
			evidence[i] = textOrNull(string(e.Evidence))
		}
		if s := h.addresses[e.About()]; s != nil && s.StoredAs != "" && e.Action != contact.Review && e.Action != contact.Quarantine {
			addresses[i], evidence[i] = s.StoredAs, nil
		}
		ambiguous[i], whole[i], out[i] = e.Ambiguous, e.WholeSeconds, r.effect.Out
		if !e.At.IsZero() {
			at[i] = &e.At
		}
		accepted[i], undoes[i] = e.AcceptedAt, int32(r.effect.Undoes)
	}
	return []any{
		accounts, keys, ids, channels, addresses, contacts, actions, causes, reasons, providers, types, providerIDs,
		endpoints, decides, sources, actors, ambiguous, at, whole, evidence, accepted, results, out, undoes, h.now,
	}
}

// suppressionArgs are the columns of upsertSuppressionsSQL.
func suppressionArgs(list []*contact.Suppression, now time.Time) []any {
	n := len(list)
	addresses := make([]contact.Address, n)
	clocks, events, suppressed := make([]string, n), make([]string, n), make([]bool, n)
	reasons, since, cited := make(textColumn, n), make([]*time.Time, n), make(idColumn, n)
	for i, s := range list {
		addresses[i], clocks[i] = s.StoredAddress(), clockText(s.Clock)
		events[i] = idsText(s.Events[:])
		if suppressed[i] = s.Stand(); suppressed[i] {
			reasons[i], since[i], cited[i] = textOrNull(s.Cause.String()), &s.Since, idOrNull(s.Event)
		}
	}
	return append(addressArgs(addresses), clocks, events, suppressed, reasons, since, cited, now)
}

// idsText is an array literal of ids.
func idsText(ids []uuid.UUID) string {
	b := []byte{'{'}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, id.String()...)
	}
	return string(append(b, '}'))
}
