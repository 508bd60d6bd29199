package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// verdict counts what is wrong; the zero value is what the promise demands.
type verdict struct {
	lost, doubled, disordered int
	// gaps counts audit versions that are missing or stand twice; broken the
	// old values that are not the previous new value; unledgered the
	// acknowledged writes without a row of their own in the ledger.
	gaps, broken, unledgered int
	acknowledged, unknown    int
	// first is the first problem found, for people.
	first string
}

func (v *verdict) problem(count *int, format string, args ...any) {
	*count++
	if v.first == "" {
		v.first = fmt.Sprintf(format, args...)
	}
}

// wrong tells whether any rule is broken.
func (v *verdict) wrong() bool {
	return v.lost+v.doubled+v.disordered+v.gaps+v.broken+v.unledgered > 0
}

// settled waits until no lane holds an entry. Offsets and streams agree then.
func (s *stack) settled(within time.Duration) {
	s.t.Helper()
	eventually(s.t, within, func() error {
		var reply struct {
			Lanes []struct {
				Lane  string
				Depth int64
			}
		}
		s.runJSON(&reply, "admin", "lanes", "--json")
		for _, l := range reply.Lanes {
			if l.Depth > 0 {
				return fmt.Errorf("lane %s still holds %d entries", l.Lane, l.Depth)
			}
		}
		return nil
	})
}

// check compares a history with what is stored.
func (s *stack) check(ctx context.Context, api string, h *history) verdict {
	s.t.Helper()
	var v verdict
	byContact := make([][]*attempt, len(h.contacts))
	for _, a := range h.attempts {
		byContact[a.contact] = append(byContact[a.contact], a)
		switch a.answer {
		case acknowledged:
			v.acknowledged++
		case unknown:
			v.unknown++
		case refused:
		}
	}
	db, err := pgx.Connect(ctx, s.pg.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	for contact, id := range h.contacts {
		status, body, err := s.call(ctx, http.MethodGet, api+"/v1/contacts/"+id, nil, nil)
		if err != nil || status != http.StatusOK {
			s.t.Fatalf("read contact %d: %d %v", contact, status, err)
		}
		var reply struct {
			Data struct {
				Notes   *string
				Version int64
			}
		}
		if err := json.Unmarshal(body, &reply); err != nil {
			s.t.Fatal(err)
		}
		var notes []string
		if reply.Data.Notes != nil {
			notes = strings.Split(*reply.Data.Notes, "\n")
		}
		v.tokens(contact, notes, byContact[contact])
		s.checkAudit(ctx, db, &v, id, reply.Data.Version, notes)
		s.checkLedger(ctx, db, &v, id, byContact[contact])
	}
	return v
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

// checkAudit reads the change log of one contact: rules 4 and 5.
func (s *stack) checkAudit(ctx context.Context, db *pgx.Conn, v *verdict, id string, version int64, notes []string) {
	s.t.Helper()
	rows, err := db.Query(ctx, `SELECT version, field, op, old_value, new_value FROM crm_field_change_log
		WHERE contact_id = $1 ORDER BY version, field`, id)
	if err != nil {
		s.t.Fatal(err)
	}
	type change struct {
		Version   int64
		Field, Op string
		Old, New  *json.RawMessage
	}
	log, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		s.t.Fatal(err)
	}
	last, fields, appended := int64(0), map[string]string{}, []string{}
	for _, c := range log {
		if c.Version != last && c.Version != last+1 {
			v.problem(&v.gaps, "contact %s: audit version %d follows %d", id, c.Version, last)
		}
		last = c.Version
		if c.Op == "append" {
			appended = append(appended, text(c.New))
			continue
		}
		if was := fields[c.Field]; text(c.Old) != was {
			v.problem(&v.broken, "contact %s: version %d of %s: old value %q, previous new value %q", id, c.Version, c.Field, text(c.Old), was)
		}
		fields[c.Field] = text(c.New)
	}
	if last != version {
		v.problem(&v.gaps, "contact %s: version %d, audit ends at %d", id, version, last)
	}
	if !slices.Equal(appended, notes) {
		v.problem(&v.broken, "contact %s: the appends in the audit are not the notes", id)
	}
}

// text reads a logged value; NULL, JSON null and the empty string are one.
func text(raw *json.RawMessage) string {
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(*raw, &s) != nil {
		return string(*raw)
	}
	return s
}

// checkLedger counts the rows of one contact in the ledger: rule 7. Every
// acknowledged write has one, an unknown one at most one, and the create one.
func (s *stack) checkLedger(ctx context.Context, db *pgx.Conn, v *verdict, id string, attempts []*attempt) {
	s.t.Helper()
	var rows, ids int
	if err := db.QueryRow(ctx, `SELECT count(*), count(DISTINCT id) FROM writes WHERE contact_id = $1 AND kind = 'patch'`, id).Scan(&rows, &ids); err != nil {
		s.t.Fatal(err)
	}
	acked, open := 0, 0
	for _, a := range attempts {
		switch a.answer {
		case acknowledged:
			acked++
		case unknown:
			open++
		case refused:
		}
	}
	if rows != ids || rows < acked || rows > acked+open {
		v.problem(&v.unledgered, "contact %s: %d ledger rows of %d writes for %d acknowledged and %d unknown ones", id, rows, ids, acked, open)
	}
}
