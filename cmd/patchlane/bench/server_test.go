package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// fake is the API in memory: honest, unless it is told to spoil something.
type fake struct {
	mu       sync.Mutex
	contacts map[uuid.UUID]*fakeContact
	writes   map[uuid.UUID]*outcome
	keys     map[string]uuid.UUID
	patches  int
	// audit is the scope of the key.
	audit bool
	// spoil may change what is applied for the n-th patch of the server: it
	// gets the contact and a function that applies the patch.
	spoil func(n int, c *fakeContact, apply func())
	// hinder may answer a request itself.
	hinder func(n int, w http.ResponseWriter) bool
	asked  int
	// rowStatus is the status of a batch row; 0: accept it.
	rowStatus func(n int) int
	rows      int
	// never says that outcomes stay queued.
	never bool
}

type fakeContact struct {
	fields  map[string]string
	notes   []string
	version int64
	log     []logRow
	ledger  []uuid.UUID
	held    func()
}

func newFake(t *testing.T) (*fake, string) {
	t.Helper()
	f := &fake{contacts: map[uuid.UUID]*fakeContact{}, writes: map[uuid.UUID]*outcome{}, keys: map[string]uuid.UUID{}, audit: true}
	mux := http.NewServeMux()
	mux.HandleFunc("PATCH /v1/contacts/{id}", f.patch)
	mux.HandleFunc("POST /v1/contacts/batch", f.batch)
	mux.HandleFunc("GET /v1/contacts/{id}", f.get)
	mux.HandleFunc("GET /v1/writes/{id}", f.write)
	mux.HandleFunc("GET /v1/writes", f.list)
	mux.HandleFunc("GET /v1/data/crm-logs", f.logs)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key" {
			problem(w, http.StatusUnauthorized, "unauthorized")
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked++
		if f.hinder != nil && f.hinder(f.asked, w) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return f, s.URL
}

func problem(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code, "detail": "so it is"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// accept takes a write, exactly once a key.
func (f *fake) accept(contact uuid.UUID, key string, patch map[string]string) uuid.UUID {
	if id, ok := f.keys[key]; ok {
		return id
	}
	id := uuid.New()
	f.keys[key] = id
	c := f.contacts[contact]
	o := &outcome{WriteID: id, ContactID: contact, State: stateApplied, AcceptedAt: time.Now()}
	f.writes[id] = o
	if c == nil {
		c = &fakeContact{fields: map[string]string{}}
		f.contacts[contact] = c
		c.apply(o, patch)
		return id
	}
	apply := func() { c.apply(o, patch) }
	f.patches++
	if f.spoil == nil {
		apply()
	} else {
		f.spoil(f.patches, c, apply)
	}
	if f.never {
		o.State = stateQueued
	}
	return id
}

func (c *fakeContact) apply(o *outcome, patch map[string]string) {
	c.version++
	o.Version, o.AppliedAt = c.version, time.Now()
	if !slices.Contains(c.ledger, o.WriteID) {
		c.ledger = append(c.ledger, o.WriteID)
	}
	if v, ok := patch["job_title"]; ok {
		row := logRow{New: &v, Version: c.version}
		if old, ok := c.fields["job_title"]; ok {
			row.Old = &old
		}
		c.log = append(c.log, row)
		c.fields["job_title"] = v
	}
	if v, ok := patch["notes_append"]; ok {
		c.notes = append(c.notes, v)
	}
}

func (f *fake) patch(w http.ResponseWriter, r *http.Request) {
	id, _ := uuid.Parse(r.PathValue("id"))
	var p map[string]string
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.Header.Get("Prefer") != "respond-async" {
		problem(w, http.StatusBadRequest, "invalid_json")
		return
	}
	if f.contacts[id] == nil {
		problem(w, http.StatusNotFound, "not_found")
		return
	}
	answer(w, http.StatusAccepted, map[string]any{"data": map[string]any{"write_id": f.accept(id, r.Header.Get("Idempotency-Key"), p)}})
}

func (f *fake) batch(w http.ResponseWriter, r *http.Request) {
	var body struct{ Writes []batchRow }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Writes) > maxBatch {
		problem(w, http.StatusBadRequest, "invalid_json")
		return
	}
	var a batchAnswer
	for i, row := range body.Writes {
		res := rowResult{Index: i, Status: http.StatusAccepted}
		if f.rows++; f.rowStatus != nil {
			if s := f.rowStatus(f.rows); s != 0 {
				res.Status, res.Error = s, &refusal{Code: "overloaded"}
			}
		}
		if res.Status == http.StatusAccepted {
			id := uuid.New()
			if row.ID != nil {
				id = *row.ID
			}
			res.WriteID = f.accept(id, row.Key, row.Patch)
		}
		a.Data.Results = append(a.Data.Results, res)
	}
	answer(w, http.StatusMultiStatus, a)
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	id, _ := uuid.Parse(r.PathValue("id"))
	c := f.contacts[id]
	s := stored{Version: c.version}
	if v, ok := c.fields["job_title"]; ok {
		s.JobTitle = &v
	}
	if len(c.notes) > 0 {
		notes := strings.Join(c.notes, "\n")
		s.Notes = &notes
	}
	answer(w, http.StatusOK, map[string]any{"data": s})
}

func (f *fake) write(w http.ResponseWriter, r *http.Request) {
	id, _ := uuid.Parse(r.PathValue("id"))
	o := f.writes[id]
	if o == nil {
		problem(w, http.StatusNotFound, "not_found")
		return
	}
	answer(w, http.StatusOK, map[string]any{"data": o})
}

// paged writes one page of a list whose cursors are indices.
func paged[T any](w http.ResponseWriter, r *http.Request, all []T) {
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	to := min(from+limit, len(all))
	var p page[T]
	p.Data, p.Pagination.HasMore, p.Pagination.NextCursor = all[from:to], to < len(all), strconv.Itoa(to)
	answer(w, http.StatusOK, p)
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	id, _ := uuid.Parse(r.URL.Query().Get("contact_id"))
	all := []outcome{}
	for _, w := range slices.Backward(f.contacts[id].ledger) {
		if o := f.writes[w]; o != nil && o.State != stateQueued {
			all = append(all, *o)
		}
	}
	paged(w, r, all)
}

func (f *fake) logs(w http.ResponseWriter, r *http.Request) {
	if !f.audit {
		problem(w, http.StatusForbidden, "insufficient_scope")
		return
	}
	all := []logRow{}
	if id, err := uuid.Parse(r.URL.Query().Get("contact_id")); err == nil {
		all = slices.Clone(f.contacts[id].log)
		slices.Reverse(all)
	}
	paged(w, r, all)
}

// forget drops a write from everything.
func (f *fake) forget(c *fakeContact) {
	id := c.ledger[len(c.ledger)-1]
	delete(f.writes, id)
	c.ledger = c.ledger[:len(c.ledger)-1]
}
