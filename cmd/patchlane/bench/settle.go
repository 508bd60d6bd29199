package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// readers is how many requests read back at the same time.
const readers = 16

// state is the state of a write.
type state string

// The states that a write of ours can have.
const (
	stateQueued    state = "queued"
	stateApplied   state = "applied"
	stateUnchanged state = "unchanged"
	stateFailed    state = "failed"
)

// outcome is what the API says of a write.
type outcome struct {
	WriteID    uuid.UUID `json:"write_id"`
	ContactID  uuid.UUID `json:"contact_id"`
	State      state     `json:"state"`
	AcceptedAt time.Time `json:"accepted_at"`
	AppliedAt  time.Time `json:"applied_at"`
	Version    int64     `json:"version"`
	Error      *refusal  `json:"error"`
}

// page is one page of a list.
type page[T any] struct {
	Data       []T `json:"data"`
	Pagination struct {
		HasMore    bool   `json:"has_more"`
		NextCursor string `json:"next_cursor"`
	} `json:"pagination"`
}

// list reads every page of a list.
func list[T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	query.Set("limit", "100")
	var all []T
	for {
		var p page[T]
		if _, err := c.do(ctx, request{method: http.MethodGet, path: path + "?" + query.Encode()}, &p); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, p.Data...)
		if !p.Pagination.HasMore {
			return all, nil
		}
		query.Set("cursor", p.Pagination.NextCursor)
	}
}

// outcomeOf waits until a write has an outcome, or ctx is over: then the last
// answer may say queued. A write that nobody knows is a refusal with status 404.
func (r *run) outcomeOf(ctx context.Context, id uuid.UUID) (outcome, error) {
	for {
		var answer struct {
			Data outcome `json:"data"`
		}
		asked := time.Now()
		_, err := r.client.do(ctx, request{
			method: http.MethodGet, path: "/v1/writes/" + id.String(), prefer: "wait=" + waitSeconds,
		}, &answer)
		if err != nil || answer.Data.State != stateQueued {
			return answer.Data, err
		}
		// Against a server that does not wait.
		if !until(ctx, asked.Add(firstPause)) {
			return answer.Data, ctx.Err()
		}
	}
}

// settle waits for the outcome of every acknowledged write.
func (r *run) settle(ctx context.Context) error {
	m := newMeter(r.stderr, "applying", r.accepted)
	defer m.done()
	wait := r.Settle
	if wait == 0 {
		wait = time.Minute + time.Duration(r.accepted)*5*time.Millisecond
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := each(limited, len(r.contacts), func(ctx context.Context, i int) error {
		return r.settleContact(ctx, r.contacts[i], m)
	})
	if ctx.Err() == nil && limited.Err() != nil {
		return nil // what has no outcome yet is counted
	}
	return err
}

// settleContact waits for the write that was acknowledged last, behind which
// the others stand, and reads the ledger of the contact. What is not in there
// is asked for by its id.
func (r *run) settleContact(ctx context.Context, t *target, m *meter) error {
	byID := make(map[uuid.UUID]*write, len(t.writes))
	var last *write
	for _, w := range t.writes {
		if w.fate != acknowledged {
			continue
		}
		byID[w.id] = w
		if last == nil || w.acked > last.acked {
			last = w
		}
	}
	if last == nil {
		return nil
	}
	if _, err := r.outcomeOf(ctx, last.id); err != nil && !notFound(err) {
		return err
	}
	rows, err := list[outcome](ctx, r.client, "/v1/writes", url.Values{"contact_id": {t.id.String()}})
	if err != nil {
		return err
	}
	for _, o := range rows {
		w := byID[o.WriteID]
		switch {
		case w == nil: // the create
		case w.outcome != nil:
			w.flaws |= doubled
		default:
			w.settled(o, m)
		}
	}
	return r.settleRest(ctx, byID, m)
}

// settleRest asks for the outcomes that are not known yet, one by one.
func (r *run) settleRest(ctx context.Context, byID map[uuid.UUID]*write, m *meter) error {
	for id, w := range byID {
		if w.outcome != nil {
			continue
		}
		o, err := r.outcomeOf(ctx, id)
		if notFound(err) {
			w.flaws |= lost
			continue
		}
		if err != nil {
			return err
		}
		w.settled(o, m)
	}
	return nil
}

// settled notes the outcome of a write.
func (w *write) settled(o outcome, m *meter) {
	if o.State != stateQueued {
		w.outcome = &o
		m.step()
	}
}

// notFound tells whether nobody knows what was asked for.
func notFound(err error) bool {
	r := (*refusal)(nil)
	return errors.As(err, &r) && r.Status == http.StatusNotFound
}
