package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	// stepTimeout bounds each step of an Apply as this process sees it. The
	// server's own limits below are shorter, so that it frees the rows first.
	stepTimeout = 10 * time.Second
	// connectTimeout bounds the wait for a connection of the pool.
	connectTimeout = 5 * time.Second
	// maxAttempts bounds how often a batch is redone in one call.
	maxAttempts = 5

	// beginLane's settings hold for the transaction alone, so a PgBouncer in
	// transaction mode does not mind. A process that is stopped in the middle
	// loses its rows after idle_in_transaction_session_timeout.
	beginQuery = `BEGIN; SET LOCAL lock_timeout = '2s'; ` +
		`SET LOCAL idle_in_transaction_session_timeout = '4s'; SET LOCAL statement_timeout = '8s'`
)

// laneTx is the one transaction of a batch.
type laneTx struct {
	tx      pgx.Tx
	metrics *metrics
	// wait makes it wait for the lane's row: after an unknown commit the old
	// transaction may still hold it, and its end is what has to be known.
	wait bool
}

// beginLane opens the transaction of a batch.
func (s *Store) beginLane(ctx context.Context, lane contact.Lane, wait bool) (*laneTx, error) {
	ctx, cancel := withDeadline(ctx, "begin", connectTimeout)
	defer cancel()
	tx, err := s.poolOf(lane).BeginTx(ctx, pgx.TxOptions{BeginQuery: beginQuery})
	if err != nil {
		return nil, stepError(ctx, "begin", err)
	}
	return &laneTx{tx: tx, metrics: s.metrics, wait: wait}, nil
}

// poolOf returns the connections for a lane: those for events are apart, so that
// no number of batches of writes can keep an opt-out waiting for one.
func (s *Store) poolOf(lane contact.Lane) *pool {
	if lane.Kind == 'a' {
		return s.events
	}
	return s.write
}

// commit sends COMMIT. A lost answer is an error that wraps errUnknownCommit.
func (t *laneTx) commit(ctx context.Context) error {
	defer t.observe(stepCommit, time.Now())
	ctx, cancel := withDeadline(ctx, stepCommit, stepTimeout)
	defer cancel()
	return commitError(t.tx.Commit(ctx))
}

// rollback ends a transaction that was not committed. It has its own deadline,
// because it must free the rows when ctx has ended, too.
func (t *laneTx) rollback(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	// An error leaves nothing to do: pgx closes the connection then, and the
	// server rolls back.
	_ = t.tx.Rollback(ctx)
}

func (t *laneTx) observe(step string, since time.Time) {
	t.metrics.step.WithLabelValues(step).Observe(time.Since(since).Seconds())
}

// withDeadline bounds one step; the cause of the context names it.
func withDeadline(ctx context.Context, step string, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%s took longer than %s", step, d))
}

// stepError names the step, and its deadline if that is what ended it.
func stepError(ctx context.Context, step string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%s: %w: %w", step, cause, err)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// redo runs a transaction until its fate is known, a few times at most. After
// an unknown commit it runs again with a waiting lock on the lane: the ledger
// then tells what the lost answer was.
func (s *Store) redo(
	ctx context.Context, op string,
	once func(ctx context.Context, wait bool) (contact.AppliedBatch, error),
) (contact.AppliedBatch, error) {
	if _, err := s.loadHashKey(ctx); err != nil {
		return contact.AppliedBatch{}, fmt.Errorf("%s: %w", op, err)
	}
	wait := false
	for attempt := 1; ; attempt++ {
		out, err := once(ctx, wait)
		if err == nil {
			s.metrics.replays.Add(float64(out.Replays))
			return out, nil
		}
		err = fmt.Errorf("%s: %w", op, err)
		switch {
		case errors.Is(err, errRechecked):
			continue
		case errors.Is(err, errUnknownCommit):
			s.metrics.unknownCommits.Inc()
			s.logger.WarnContext(ctx, "commit has an unknown fate, asking the ledger", "err", err)
			wait = true
		case isRedoable(err):
			s.metrics.redone.Inc()
		case errors.Is(err, contact.ErrFenced):
			s.metrics.fenceLosses.Inc()
			s.logger.WarnContext(ctx, "batch lost its fence", "err", err)
			return contact.AppliedBatch{}, err
		default:
			return contact.AppliedBatch{}, err
		}
		if attempt == maxAttempts || !pause(ctx, attempt) {
			return contact.AppliedBatch{}, err
		}
	}
}

// pause waits a little longer each time, with jitter so that two batches that
// met in a deadlock do not meet again. It is false when ctx ended.
func pause(ctx context.Context, attempt int) bool {
	d := time.Duration(attempt) * 10 * time.Millisecond
	timer := time.NewTimer(d + rand.N(d)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
