package api

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"patchlane/tasks/contact"
)

const (
	// endpointTimeout bounds a look-up in the mirror and the store together.
	endpointTimeout = 1500 * time.Millisecond
	// endpointMemory is how long an endpoint is remembered for the time when
	// nobody can be asked: the answer to its provider depends on who that is.
	endpointMemory = time.Hour
	endpointCache  = 10_000
	endpointAskers = 8
)

// directory finds the record of an endpoint: in the mirror in Redis, else in
// the store, else in memory. The mirror is asked for each request, so that a
// new endpoint, a rotated secret and a deletion count from the next request on.
type directory struct {
	mirror endpointMirror
	store  endpointStore
	feed   endpointFeed
	logger *slog.Logger
	askers chan struct{}
	known  *otter.Cache[uuid.UUID, contact.Endpoint]
}

func newDirectory(o *Options) *directory {
	return &directory{
		mirror: o.Optouts.EndpointMirror, store: o.Optouts.Endpoints, feed: o.Optouts.EndpointFeed, logger: o.Logger,
		askers: make(chan struct{}, endpointAskers),
		known: otter.Must(&otter.Options[uuid.UUID, contact.Endpoint]{
			MaximumSize:      endpointCache,
			ExpiryCalculator: otter.ExpiryWriting[uuid.UUID, contact.Endpoint](endpointMemory),
		}),
	}
}

// find returns an endpoint that is not deleted, or not_found.
func (d *directory) find(ctx context.Context, id uuid.UUID) (contact.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, endpointTimeout)
	defer cancel()
	e, err := d.look(ctx, id)
	switch {
	case contact.CodeOf(err) == contact.CodeNotFound:
		d.known.Invalidate(id)
		return contact.Endpoint{}, notFound("webhook endpoint")
	case err != nil:
		remembered, ok := d.known.GetIfPresent(id)
		if !ok {
			return contact.Endpoint{}, err
		}
		e = remembered
	}
	if e.DeletedAt != nil {
		d.known.Invalidate(id)
		return contact.Endpoint{}, notFound("webhook endpoint")
	}
	d.known.Set(id, e)
	return e, nil
}

// look asks the mirror, then the store, and refills the mirror.
func (d *directory) look(ctx context.Context, id uuid.UUID) (contact.Endpoint, error) {
	ask, cancel := context.WithTimeout(ctx, mirrorTimeout)
	e, found, mirrorErr := d.mirror.Endpoint(ask, id)
	cancel()
	if mirrorErr == nil && found {
		return e, nil
	}
	select {
	case d.askers <- struct{}{}:
		defer func() { <-d.askers }()
	case <-ctx.Done():
		return contact.Endpoint{}, storeError(ctx.Err())
	}
	e, err := d.store.Endpoint(ctx, id)
	if err != nil {
		return contact.Endpoint{}, storeError(err)
	}
	if mirrorErr == nil {
		if err := d.mirror.FillEndpoint(ctx, e); err != nil {
			d.logger.WarnContext(ctx, "endpoint mirror not filled", "err", err, "endpoint_id", id)
		}
	}
	return e, nil
}

// publish brings a changed endpoint to the mirror, where every process looks.
func (d *directory) publish(ctx context.Context, e contact.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, endpointTimeout)
	defer cancel()
	if err := d.mirror.PutEndpoint(ctx, e); err != nil {
		return &contact.Error{
			Code:    contact.CodeQueueUnavailable,
			Message: "The change is kept but is not yet in force everywhere.",
			Fix:     "Send the same request again until it succeeds.",
			Err:     err,
		}
	}
	return nil
}

// run brings to the mirror what was changed in the store, until ctx ends: by a
// command, or by a process that could not reach Redis.
func (d *directory) run(ctx context.Context, now func() time.Time) {
	follow(ctx, keyPoll, now, now().Add(-keyOverlap), d.refresh)
}

// refresh mirrors the endpoints that changed since a moment.
func (d *directory) refresh(ctx context.Context, since time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	changed, err := d.feed.EndpointsChangedSince(ctx, since)
	if err != nil {
		d.logger.DebugContext(ctx, "changed endpoints not readable", "err", err)
		return false
	}
	for _, e := range changed {
		if err := d.mirror.PutEndpoint(ctx, e); err != nil {
			d.logger.WarnContext(ctx, "endpoint mirror not written", "err", err, "endpoint_id", e.ID)
			return false
		}
	}
	return true
}
