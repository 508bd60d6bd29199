package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// In a build without the fence a doubled write meets its own row here.
	insertWritesSQL = `INSERT INTO writes (account_id, id, contact_id, kind, state, code, message,
			version, actor, source, accepted_at, applied_at, idempotency_key, retry_of, changes, skipped, source_event)
		SELECT d.account_id, d.id, d.contact_id, d.kind, d.state, d.code, d.message,
			d.version, d.actor, d.source, d.accepted_at, $15::timestamptz, d.idempotency_key, d.retry_of,
			d.changes::jsonb, d.skipped::jsonb, d.source_event
		FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
			$8::bigint[], $9::text[], $10::text[], $11::timestamptz[], $12::bytea[], $13::uuid[],
			$14::text[], $16::text[], $17::text[])
		AS d (account_id, id, contact_id, kind, state, code, message,
			version, actor, source, accepted_at, idempotency_key, retry_of, changes, skipped, source_event)`

	insertFailedSQL = `INSERT INTO failed_writes
			(account_id, id, contact_id, lane, offsets, code, payload, accepted_at, failed_at, origin_at)
		SELECT d.account_id, d.id, d.contact_id, $1::text, d.offsets, d.code, d.payload, d.accepted_at, $2::timestamptz,
			d.origin_at
		FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::bytea[],
			$9::timestamptz[], $10::timestamptz[])
		AS d (account_id, id, contact_id, offsets, code, payload, accepted_at, origin_at)`

	advanceSQL         = `UPDATE lanes SET offsets = $2, recheck = $4::jsonb WHERE lane = $1 AND offsets = $3`
	advanceUnfencedSQL = `UPDATE lanes SET offsets = $2, recheck = $4::jsonb WHERE lane = $1 AND $3::text IS NOT NULL`
)

// statement is one of the set-based statements that write a batch.
type statement struct {
	op   string
	sql  string
	args []any
	// rows is how many rows it must touch, and short what it is when it
	// touches fewer; nil: rows are not counted.
	rows  int
	short error
}

// write is one round trip: the contacts, the ledger, the failures and the
// offset. The answer of every statement is read before COMMIT is sent.
func (t *laneTx) write(ctx context.Context, b *batch) error { return t.run(ctx, b.statements()) }

// run runs statements in one round trip.
func (t *laneTx) run(ctx context.Context, statements []statement) error {
	defer t.observe(stepWrite, time.Now())
	ctx, cancel := withDeadline(ctx, stepWrite, stepTimeout)
	defer cancel()
	q := &pgx.Batch{}
	for _, st := range statements {
		q.Queue(st.sql, st.args...)
	}
	results := t.tx.SendBatch(ctx, q)
	for _, st := range statements {
		tag, err := results.Exec()
		if err == nil && st.short != nil && tag.RowsAffected() != int64(st.rows) {
			err = st.short
		}
		if err != nil {
			_ = results.Close()
			return stepError(ctx, stepWrite, dataError(st.op, err))
		}
	}
	return wrap(stepWrite, results.Close())
}

// statements are what the batch has to write. The contacts that were there go
// first: a created one may take a value that an update gave up.
func (b *batch) statements() []statement {
	var list []statement
	if n := len(b.folded.Updated); n > 0 {
		list = append(list, statement{
			op: "update contacts", sql: updateContactsSQL, args: contactArgs(b.folded.Updated, false),
			rows: n, short: errLostRow,
		})
	}
	if len(b.folded.Created) > 0 {
		list = append(list, statement{
			op: "insert contacts", sql: insertContactsSQL, args: contactArgs(b.folded.Created, true),
		})
	}
	list = append(list, b.ledgerStatements()...)
	if len(b.folded.Left) > 0 {
		list = append(list, statement{op: "insert left addresses", sql: insertLeftSQL, args: leftArgs(b.folded.Left)})
	}
	if b.folded.Erased != nil {
		list = append(list, eraseStatement(b.folded.Erased, b.now))
	}
	return append(list, b.advance(recheckJSON(b.folded.Given)))
}

// ledgerStatements record the outcomes, and of the failed ones what a retry
// needs.
func (b *batch) ledgerStatements() []statement {
	var list []statement
	if len(b.folded.Outcomes) > 0 {
		sql := insertWritesSQL
		if !fenced {
			sql += ` ON CONFLICT DO NOTHING`
		}
		list = append(list, statement{op: "insert writes", sql: sql, args: b.writeArgs()})
	}
	if args, any := b.failedArgs(); any {
		sql := insertFailedSQL
		if !fenced {
			sql += ` ON CONFLICT DO NOTHING`
		}
		list = append(list, statement{op: "insert failed writes", sql: sql, args: args})
	}
	return append(list, b.discardErased()...)
}

// advance moves the lane's offset, unless somebody else did.
func (b *batch) advance(recheck *string) statement {
	st := statement{
		op: "advance offset", sql: advanceSQL, args: []any{b.lane.String(), b.last().String(), b.oldText, recheck},
		rows: 1, short: contact.ErrFenced,
	}
	if !fenced {
		st.sql = advanceUnfencedSQL
	}
	return st
}

// writeArgs are the columns of the ledger's rows.
func (b *batch) writeArgs() []any {
	n := len(b.folded.Outcomes)
	var (
		accounts, ids, contacts  = make(idColumn, n), make(idColumn, n), make(idColumn, n)
		kinds, states            = make([]string, n), make([]string, n)
		actors, sources          = make([]string, n), make([]string, n)
		codes, messages          = make(textColumn, n), make(textColumn, n)
		changes, skipped         = make(textColumn, n), make(textColumn, n)
		events                   = make(textColumn, n)
		versions, accepted, keys = make([]int64, n), make([]time.Time, n), make([][]byte, n)
		retries                  = make(idColumn, n)
	)
	for i := range b.folded.Outcomes {
		o, e := &b.folded.Outcomes[i], &b.work[i]
		accounts[i], ids[i], contacts[i] = idValue(o.Account), idValue(o.WriteID), idValue(o.ID)
		kinds[i], states[i], versions[i] = o.Kind.String(), string(o.State), o.Version
		codes[i], messages[i] = textOrNull(string(o.Code)), textOrNull(o.Message)
		actors[i], sources[i], accepted[i] = e.Actor, string(e.Source), e.AcceptedAt
		if e.Idempotency != nil {
			keys[i] = e.Idempotency.Key[:]
		}
		retries[i] = idOrNull(e.RetryOf)
		changes[i], skipped[i] = changesJSON(o.Changes), skipsJSON(o.Skipped)
		events[i] = textOrNull(o.SourceEvent)
	}
	return []any{
		accounts, ids, contacts, kinds, states, codes, messages, versions, actors, sources,
		accepted, keys, retries, changes, b.now, skipped, events,
	}
}

// failedArgs are the columns of the failures; false when there are none.
func (b *batch) failedArgs() ([]any, bool) {
	var accounts, ids, contacts idColumn
	var offsets, codes []string
	var payloads [][]byte
	var accepted, origins []time.Time
	for i := range b.folded.Outcomes {
		o, e := &b.folded.Outcomes[i], &b.work[i]
		if o.State != contact.Failed {
			continue
		}
		accounts, ids = append(accounts, idValue(o.Account)), append(ids, idValue(o.WriteID))
		contacts = append(contacts, idValue(o.ID))
		offsets, codes = append(offsets, e.String()), append(codes, string(o.Code))
		// Never nil: that would be NULL.
		payload := append([]byte{}, e.Raw...)
		if b.erased[e.Ref()] {
			payload = []byte{}
		}
		payloads = append(payloads, payload)
		accepted, origins = append(accepted, e.AcceptedAt), append(origins, originOf(&e.Write))
	}
	return []any{
		b.lane.String(), b.now, accounts, ids, contacts, offsets, codes, payloads, accepted, origins,
	}, len(ids) > 0
}

// errLostRow says that a contact that is locked is not there any more.
var errLostRow = fmt.Errorf("a locked contact is gone: %w", contact.ErrFenced)

// textOrNull makes the empty string NULL.
func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
