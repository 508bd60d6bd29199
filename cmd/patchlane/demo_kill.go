package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// killContacts and killWrites are the load during which the worker dies:
	// so many contacts, each written by one client, so many times.
	killContacts = 16
	killWrites   = 125
	// killTries is how often a request of unknown fate is repeated.
	killTries = 100
)

// killWorker kills the worker with SIGKILL while clients write, starts another
// one later, and holds every acknowledged write against what is stored.
func (d *demo) killWorker(ctx context.Context) error {
	const all = killContacts * killWrites
	d.say("\n2. kill -9 of the worker while %d clients append notes, %d in all\n", killContacts, all)
	ids, err := d.makeContacts(ctx, killContacts)
	if err != nil {
		return err
	}
	var acked atomic.Int64
	last := make([]string, len(ids))
	clients, sending := errgroup.WithContext(ctx)
	for i, id := range ids {
		clients.Go(func() (err error) {
			last[i], err = d.appendNotes(sending, id, &acked)
			return err
		})
	}
	clients.Go(func() error { return d.replaceWorker(sending, &acked) })
	if err := clients.Wait(); err != nil {
		return err
	}
	d.check(acked.Load() == all, "%d of %d writes were acknowledged, the API never noticed", acked.Load(), all)
	return d.verifyNotes(ctx, ids, last)
}

// makeContacts makes contacts and returns their ids.
func (d *demo) makeContacts(ctx context.Context, n int) ([]string, error) {
	ids := make([]string, n)
	for i := range ids {
		r, err := d.client.do(ctx, http.MethodPost, "/v1/contacts", fmt.Sprintf(`{"full_name":"Contact %d"}`, i))
		if err != nil {
			return nil, err
		}
		if r.Status != http.StatusCreated {
			return nil, fmt.Errorf("create a contact: %d %s", r.Status, r.raw)
		}
		ids[i] = r.Data.ID
	}
	return ids, nil
}

// appendNotes writes the numbered notes of one contact, one after the other's
// acknowledgement, and returns the id of the last write.
func (d *demo) appendNotes(ctx context.Context, id string, acked *atomic.Int64) (string, error) {
	var last string
	for n := range killWrites {
		r, err := d.untilKnown(ctx, id, fmt.Sprintf(`{"notes_append":"note %d"}`, n), fmt.Sprintf("%s-%d", id, n))
		if err != nil {
			return "", err
		}
		last = r.Data.WriteID
		acked.Add(1)
	}
	return last, nil
}

// untilKnown repeats a write with its key until it is acknowledged.
func (d *demo) untilKnown(ctx context.Context, id, body, key string) (*reply, error) {
	wait := backOff{wait: 10 * time.Millisecond, most: firstWait}
	var r *reply
	var err error
	for range killTries {
		r, err = d.client.do(ctx, http.MethodPatch, "/v1/contacts/"+id, body, "Prefer", "respond-async", "Idempotency-Key", key)
		switch {
		case err == nil && r.Status == http.StatusAccepted:
			return r, nil
		case err == nil && r.Status < http.StatusInternalServerError:
			return nil, fmt.Errorf("write to contact %s was refused: %d %s", id, r.Status, r.raw)
		}
		if !wait.pause(ctx) {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("write to contact %s got no answer: %w", id, err)
}

// replaceWorker kills the worker after a quarter of the writes and starts
// another one after half of them.
func (d *demo) replaceWorker(ctx context.Context, acked *atomic.Int64) error {
	const all = killContacts * killWrites
	if err := until(ctx, func() bool { return acked.Load() >= all/4 }); err != nil {
		return err
	}
	d.worker.kill()
	d.say("   killed worker process %d after %d acknowledgements\n", d.worker.pid(), acked.Load())
	if err := until(ctx, func() bool { return acked.Load() >= all/2 }); err != nil {
		return err
	}
	if err := d.startWorker(ctx); err != nil {
		return err
	}
	d.say("   started worker process %d after %d acknowledgements\n", d.worker.pid(), acked.Load())
	return nil
}

// until looks every few milliseconds.
func until(ctx context.Context, done func() bool) error {
	wait := backOff{wait: 2 * time.Millisecond, most: 2 * time.Millisecond}
	for !done() {
		if !wait.pause(ctx) {
			return ctx.Err()
		}
	}
	return nil
}

// verifyNotes waits for the last write of every contact and reads all back: each
// note once, in the order in which it was acknowledged, and one version a note.
func (d *demo) verifyNotes(ctx context.Context, ids, last []string) error {
	began := time.Now()
	var want strings.Builder
	for n := range killWrites {
		if n > 0 {
			want.WriteByte('\n')
		}
		fmt.Fprintf(&want, "note %d", n)
	}
	intact, versions := 0, 0
	for i, id := range ids {
		if _, err := d.client.do(ctx, http.MethodGet, "/v1/writes/"+last[i], "", "Prefer", "wait=30"); err != nil {
			return err
		}
		r, err := d.client.do(ctx, http.MethodGet, "/v1/contacts/"+id, "")
		if err != nil {
			return err
		}
		if r.Data.Notes != nil && *r.Data.Notes == want.String() {
			intact++
		}
		if r.Data.Version == killWrites+1 {
			versions++
		}
	}
	d.say("   everything applied %s after the last acknowledgement\n", time.Since(began).Round(10*time.Millisecond))
	d.check(intact == len(ids), "%d of %d contacts hold every note once and in order: nothing lost, nothing doubled", intact, len(ids))
	d.check(versions == len(ids), "%d of %d contacts count one version for each of their %d writes", versions, len(ids), killWrites+1)
	return nil
}
