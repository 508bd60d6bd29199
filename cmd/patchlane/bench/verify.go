package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// stored is what is read of a contact.
type stored struct {
	JobTitle *string `json:"job_title"`
	Notes    *string `json:"notes"`
	Version  int64   `json:"version"`
}

// verify reads every contact of the run and its audit log.
func (r *run) verify(ctx context.Context) error {
	m := newMeter(r.stderr, "verifying", len(r.contacts))
	defer m.done()
	audit, err := r.mayAudit(ctx)
	if err != nil {
		return err
	}
	if !audit {
		m.remark("the key has no scope crm_audit:read: the audit log is not checked")
	}
	if n := r.unnoted(); n > 0 {
		m.remark(fmt.Sprintf("%d writes did not fit the notes of their contact: they are checked by ledger%s alone",
			n, map[bool]string{true: " and audit log"}[audit]))
	}
	return each(ctx, len(r.contacts), func(ctx context.Context, i int) error {
		defer m.step()
		return r.verifyContact(ctx, r.contacts[i], audit)
	})
}

// mayAudit tells whether the key may read the audit log.
func (r *run) mayAudit(ctx context.Context) (bool, error) {
	var p page[logRow]
	_, err := r.client.do(ctx, request{method: http.MethodGet, path: "/v1/data/crm-logs?limit=1"}, &p)
	if final := (*refusal)(nil); errors.As(err, &final) && final.Status == http.StatusForbidden {
		return false, nil
	}
	return err == nil, err
}

// unnoted counts the writes that were to have a note and got none.
func (r *run) unnoted() int {
	if *r.Notes < 1 {
		return 0
	}
	n := 0
	for _, t := range r.contacts {
		for _, w := range t.writes {
			if !w.note {
				n++
			}
		}
	}
	return n
}

// verifyContact holds a contact and its audit log against what was sent.
func (r *run) verifyContact(ctx context.Context, t *target, audit bool) error {
	var answer struct {
		Data stored `json:"data"`
	}
	_, err := r.client.do(ctx, request{method: http.MethodGet, path: "/v1/contacts/" + t.id.String()}, &answer)
	if notFound(err) {
		err = nil // then everything in it is lost
	}
	if err != nil {
		return err
	}
	named := make(map[string]*write, len(t.writes))
	for _, w := range t.writes {
		named[w.token()] = w
	}
	checkContact(answer.Data, named, t.writes)
	if !audit {
		return nil
	}
	rows, err := list[logRow](ctx, r.client, "/v1/data/crm-logs",
		url.Values{"contact_id": {t.id.String()}, "field": {"job_title"}})
	if err != nil {
		return err
	}
	slices.Reverse(rows) // they come newest first
	checkLog(rows, named, t.writes)
	return nil
}

// checkContact holds the notes and the last value of a contact against the
// writes.
func checkContact(c stored, named map[string]*write, writes []*write) {
	var standing, expected []*write
	for line := range strings.SplitSeq(deref(c.Notes), "\n") {
		if w := named[line]; w != nil {
			standing = append(standing, w)
		}
	}
	var last *write
	for _, w := range writes {
		if w.note {
			expected = append(expected, w)
		}
		if w.outcome != nil && w.outcome.State == stateApplied && (last == nil || w.outcome.Version > last.outcome.Version) {
			last = w
		}
	}
	checkPresence(standing, expected)
	checkOrder(standing)
	if last == nil || deref(c.JobTitle) == last.token() {
		return
	}
	// A write of unknown fate may have come after it.
	if after := named[deref(c.JobTitle)]; after == nil || (after.fate != unknown && c.Version <= last.outcome.Version) {
		last.flaws |= disordered
	}
}
