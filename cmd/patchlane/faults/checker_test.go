package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// verdict counts what is wrong; the zero value is what the promise demands.
type verdict struct {
	// Rules 1 to 3.
	lost, doubled, disordered int
	// gaps are audit versions that are missing or stand twice; broken are old
	// values that are not the previous new value (rule 4), unfolded members of a
	// contact that its audit does not explain (5), consent flags that are not what
	// was said (6), unledgered acknowledged writes without a row of their own (7),
	// offsets lanes whose offset is not the stream's last id (8), together
	// transactions of one lane at the same time (9).
	gaps, broken, unfolded, consent, unledgered, offsets, together int

	acknowledged, unknown, events, spans int
	// first is the first problem found, for people.
	first string
}

func (v *verdict) problem(count *int, format string, args ...any) {
	*count++
	if v.first == "" {
		v.first = fmt.Sprintf(format, args...)
	}
}

// others counts the problems beyond lost, doubled and disordered writes.
func (v *verdict) others() int {
	return v.gaps + v.broken + v.unfolded + v.consent + v.unledgered + v.offsets + v.together
}

// wrong tells whether any rule is broken.
func (v *verdict) wrong() bool { return v.lost+v.doubled+v.disordered+v.others() > 0 }

// settled waits until no lane holds an entry.
func (s *stack) settled(within time.Duration) {
	s.t.Helper()
	rdb := s.direct(s.t)
	eventually(s.t, within, func() error {
		for lane, log := range laneLogs() {
			depth, err := rdb.XLen(s.t.Context(), log).Result()
			if err != nil {
				return err
			}
			if depth > 0 {
				return fmt.Errorf("lane %s still holds %d entries", lane, depth)
			}
		}
		return nil
	})
}

// check compares a history with what is stored, by all nine rules.
func (s *stack) check(tb testing.TB, h *history) verdict {
	tb.Helper()
	v := verdict{events: len(h.events)}
	byContact := make([][]*attempt, len(h.contacts))
	said := make([][]opinion, len(h.contacts))
	for _, a := range h.attempts {
		byContact[a.contact] = append(byContact[a.contact], a)
		switch a.answer {
		case acknowledged:
			v.acknowledged++
			if a.consent != nil {
				said[a.contact] = append(said[a.contact], *a.consent)
			}
		case unknown:
			v.unknown++
		case refused:
		}
	}
	for _, o := range h.events {
		said[o.contact] = append(said[o.contact], o)
	}
	db, api := s.postgres(tb), s.anAPI(tb)
	for i := range h.contacts {
		c := s.stored(tb, api, h.contacts[i].id)
		v.tokens(i, c.notes, byContact[i])
		s.checkAudit(tb, db, &v, c)
		s.checkLedger(tb, db, &v, c.id, byContact[i])
		is := text(c.members["sms_unsubscribed"]) == "true"
		if want, sure := unsubscribed(said[i]); sure && is != want {
			v.problem(&v.consent, "contact %d: sms_unsubscribed is %t after %+v", i, is, said[i])
		}
	}
	s.checkOffsets(tb, db, &v)
	var err error
	var first string
	if v.spans, v.together, first, err = overlaps(s.witness); err != nil {
		tb.Fatal(err)
	}
	if v.first == "" {
		v.first = first
	}
	return v
}

// stored is a contact as the API shows it.
type stored struct {
	id      string
	version int64
	notes   []string
	members map[string]*json.RawMessage
}

func (s *stack) stored(tb testing.TB, api, id string) stored {
	tb.Helper()
	status, body, err := s.call(tb.Context(), http.MethodGet, api+"/v1/contacts/"+id, nil, nil)
	if err != nil || status != http.StatusOK {
		tb.Fatalf("read contact: %d %v", status, err)
	}
	var reply struct{ Data map[string]*json.RawMessage }
	if err := json.Unmarshal(body, &reply); err != nil {
		tb.Fatal(err)
	}
	c := stored{id: id, members: reply.Data}
	if err := json.Unmarshal(*reply.Data["version"], &c.version); err != nil {
		tb.Fatal(err)
	}
	if notes := text(reply.Data["notes"]); notes != "" {
		c.notes = strings.Split(notes, "\n")
	}
	return c
}

// tokens holds the notes of one contact against its writes: rules 1 to 3.
func (v *verdict) tokens(contact int, notes []string, attempts []*attempt) {
	at := map[string]int{}
	for i, token := range notes {
		if _, twice := at[token]; twice {
			v.problem(&v.doubled, "contact %d: token %s stands twice", contact, token)
			continue
		}
		at[token] = i
	}
	known := make([]*attempt, len(notes))
	for _, a := range attempts {
		if a.token == "" {
			continue
		}
		i, stands := at[a.token]
		switch {
		case stands && a.answer == refused:
			v.problem(&v.doubled, "contact %d: token %s was refused but stands", contact, a.token)
		case stands && a.answer == acknowledged:
			known[i] = a
		case !stands && a.answer == acknowledged:
			v.problem(&v.lost, "contact %d: token %s was acknowledged and is lost", contact, a.token)
		}
	}
	// Of all writes that stand before this one, none may have been sent after
	// this one was acknowledged.
	var latest *attempt
	for _, a := range known {
		if a == nil {
			continue
		}
		if latest != nil && latest.sent.After(a.acked) {
			v.problem(&v.disordered, "contact %d: %s stands before %s, but was sent after its acknowledgement", contact, latest.token, a.token)
		}
		if latest == nil || a.sent.After(latest.sent) {
			latest = a
		}
	}
}

// change is one row of the change log.
type change struct {
	Version   int64
	Field, Op string
	Old, New  *json.RawMessage
}

// checkAudit reads the change log of one contact: rules 4 and 5.
func (s *stack) checkAudit(tb testing.TB, db *pgx.Conn, v *verdict, c stored) {
	tb.Helper()
	rows, err := db.Query(tb.Context(), `SELECT version, field, op, old_value, new_value FROM crm_field_change_log
		WHERE contact_id = $1 ORDER BY version, field`, c.id)
	if err != nil {
		tb.Fatal(err)
	}
	log, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		tb.Fatal(err)
	}
	last, fields, appended := int64(0), map[string]string{}, []string{}
	for _, row := range log {
		if row.Version != last && row.Version != last+1 {
			v.problem(&v.gaps, "contact %s: audit version %d follows %d", c.id, row.Version, last)
		}
		last = row.Version
		if row.Op == "append" {
			appended = append(appended, text(row.New))
			continue
		}
		if was := fields[row.Field]; text(row.Old) != was {
			v.problem(&v.broken, "contact %s: version %d of %s: old value %q, previous new value %q", c.id, row.Version, row.Field, text(row.Old), was)
		}
		fields[row.Field] = text(row.New)
	}
	if last != c.version {
		v.problem(&v.gaps, "contact %s: version %d, audit ends at %d", c.id, c.version, last)
	}
	if !slices.Equal(appended, c.notes) {
		v.problem(&v.broken, "contact %s: the appends in the audit are not the notes", c.id)
	}
	for _, f := range auditedFields() {
		if got := text(c.members[f]); got != fields[f] {
			v.problem(&v.unfolded, "contact %s: %s is %q, its audit ends with %q", c.id, f, got, fields[f])
		}
	}
}

// auditedFields are the members that an audit explains, but for the notes.
func auditedFields() []string {
	return []string{
		"first_name", "last_name", "email", "phone", "landline", "date_of_birth", "job_title", "company_name",
		"linkedin_url", "avatar_url", "contact_owner", "external_id", "source",
		"email_unsubscribed", "email_unsubscribed_reason", "sms_unsubscribed", "sms_unsubscribed_reason",
	}
}

// text reads a value; NULL, JSON null, false and the empty string are one.
func text(raw *json.RawMessage) string {
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(*raw, &s) == nil {
		return s
	}
	if s = string(*raw); s == "false" {
		return ""
	}
	return s
}

// checkLedger holds the ledger rows of one contact against its writes: rule 7.
func (s *stack) checkLedger(tb testing.TB, db *pgx.Conn, v *verdict, id string, attempts []*attempt) {
	tb.Helper()
	rows, err := db.Query(tb.Context(), `SELECT id::text, state FROM writes
		WHERE contact_id = $1 AND kind = 'patch' AND state <> 'failed'`, id)
	if err != nil {
		tb.Fatal(err)
	}
	type entry struct{ ID, State string }
	ledger, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil {
		tb.Fatal(err)
	}
	state := map[string]string{}
	for _, e := range ledger {
		state[e.ID] = e.State
	}
	acked, open := 0, 0
	for _, a := range attempts {
		switch a.answer {
		case acknowledged:
			acked++
			if st := state[a.id]; st != "applied" && st != "unchanged" {
				v.problem(&v.unledgered, "contact %s: write %s was acknowledged and is %q", id, a.id, st)
			}
		case unknown:
			open++
		case refused:
		}
	}
	if len(ledger) != len(state) || len(ledger) < acked || len(ledger) > acked+open {
		v.problem(&v.unledgered, "contact %s: %d ledger rows of %d writes for %d acknowledged and %d unknown ones", id, len(ledger), len(state), acked, open)
	}
}

// checkOffsets compares every lane's offset with its stream's last id: rule 8.
func (s *stack) checkOffsets(tb testing.TB, db *pgx.Conn, v *verdict) {
	tb.Helper()
	ctx, rdb := context.WithoutCancel(tb.Context()), s.direct(tb)
	for lane, log := range laneLogs() {
		var offset string
		if err := db.QueryRow(ctx, `SELECT offsets FROM lanes WHERE lane = $1`, lane).Scan(&offset); err != nil {
			tb.Fatal(err)
		}
		last := "0-0"
		if info, err := rdb.XInfoStream(ctx, log).Result(); err == nil {
			last = info.LastGeneratedID
		}
		if offset != last {
			v.problem(&v.offsets, "lane %s: the offset is %s, the stream ends at %s", lane, offset, last)
		}
	}
}
