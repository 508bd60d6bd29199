package lane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/circuit"
	"patchlane/tasks/contact"
)

const (
	firstPause = 5 * time.Millisecond
	longPause  = 250 * time.Millisecond
)

// errUnknownFate marks an append that may or may not have been written.
var errUnknownFate = errors.New("fate of the append is unknown")

// notRunError says that a call certainly did not run.
type notRunError struct{ err error }

func (e *notRunError) Error() string { return "append did not run: " + e.err.Error() }
func (e *notRunError) Unwrap() error { return e.err }

// settle finds out what became of a call whose first run gave err. A call that
// did not run is answered at once; one of unknown fate is repeated, with the same
// ids and the repeat flag, until an answer comes or its time is over.
func (a *Appender) settle(ctx context.Context, c *call, err error) {
	unknown := false
	pause := firstPause
	deadline := c.started.Add(a.cfg.RepeatTime)
	for {
		switch {
		case isElsewhere(err): // it did not run here, and runs at the next try
			a.reroute(ctx)
		case didNotRun(err):
			if !unknown {
				a.fail(c, notWritten(err), err)
				return
			}
		default:
			unknown = true
			c.args[repeatArg] = "1"
		}
		if time.Until(deadline) < pause || !wait(ctx, pause) {
			break
		}
		pause = min(2*pause, longPause)
		if unknown {
			a.lanes.metrics.repeats.Inc()
		}
		if err = a.repeat(ctx, c, deadline); err == nil {
			return
		}
	}
	if unknown {
		a.fail(c, fateUnknown(err), err)
		return
	}
	a.fail(c, notWritten(err), err)
}

// repeat runs a call again, with the source of the script for a server that was
// restarted. It ends with the time of all repeats.
func (a *Appender) repeat(ctx context.Context, c *call, deadline time.Time) error {
	callCtx, cancel := context.WithTimeout(ctx, min(a.cfg.CallTime, time.Until(deadline)))
	defer cancel()
	node, err := a.node(callCtx, c.lane)
	if err != nil {
		return &notRunError{err}
	}
	return a.accept(ctx, c, a.lanes.scripts.append.Run(callCtx, node, c.keys, c.args...))
}

// accept answers the requests of a call from its reply and frees the lane. An
// error means that there is no such reply; nothing was answered then.
func (a *Appender) accept(ctx context.Context, c *call, cmd *redis.Cmd) error {
	reply, err := cmd.Slice()
	if err != nil {
		return err
	}
	if len(reply) != 3+len(c.requests) {
		return fmt.Errorf("append: reply of %d elements to %d entries", len(reply), len(c.requests))
	}
	length, _ := reply[0].(int64)
	trimmed, _ := reply[1].(int64)
	gen, _ := reply[2].(int64)
	rate := a.observe(c.lane, trimmed)
	if gen > 0 {
		a.ring(ctx, c.lane, gen)
	}
	for i, r := range c.requests {
		answer, _ := reply[3+i].(string)
		receipt, err := a.answer(r, answer, backlog{length, rate})
		r.done <- result{receipt, err}
	}
	a.finish(c)
	return nil
}

// backlog is the state of a lane as a refusal sees it.
type backlog struct {
	length int64
	rate   float64 // entries a second; below zero: not known
}

// answer translates the script's answer to one entry.
func (a *Appender) answer(r *request, s string, b backlog) (contact.Receipt, error) {
	if s == "" {
		return contact.Receipt{}, fateUnknown(errors.New("append: empty answer"))
	}
	rest := s[1:]
	switch s[0] {
	case 'A':
		at, err := parseMicros(rest)
		if err != nil {
			return contact.Receipt{}, fateUnknown(err)
		}
		return contact.Receipt{WriteID: r.id, AcceptedAt: at}, nil
	case 'K':
		if r.idem == nil {
			return contact.Receipt{}, fateUnknown(errors.New("append: replay of an entry without key"))
		}
		return readIdem(rest, r.idem.Body)
	case 'L':
		return contact.Receipt{}, overloaded("The queue of this contact is full.",
			b.retryAfter(b.length, int64(a.lanes.cfg.Limit)))
	case 'S':
		held, _ := strconv.ParseInt(rest, 10, 64)
		return contact.Receipt{}, overloaded(
			"The account has as many writes in the queue of this contact as one account may have.",
			b.retryAfter(held, int64(a.lanes.cfg.share())))
	default:
		return contact.Receipt{}, fateUnknown(fmt.Errorf("append: answer of kind %q", s[0]))
	}
}

func parseMicros(s string) (time.Time, error) {
	us, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read accepted_at: %w", err)
	}
	return time.UnixMicro(us).UTC(), nil
}

// didNotRun tells whether an error proves that a call had no effect: the
// connection was never made, or the server refused the command before running it.
func didNotRun(err error) bool {
	var notRun *notRunError
	var op *net.OpError
	switch {
	case errors.As(err, &notRun), errors.Is(err, circuit.ErrOpen):
		return true
	case errors.As(err, &op) && op.Op == "dial":
		return true
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted),
		errors.Is(err, redis.ErrClosed):
		return true
	}
	for _, prefix := range []string{
		"NOSCRIPT", "LOADING", "READONLY", "OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM",
		"MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "MOVED", "ASK", "TRYAGAIN",
		"max number of clients reached",
	} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// isElsewhere tells whether a call did not run because the server lacks the
// script or the slot: trying again is the cure.
func isElsewhere(err error) bool {
	for _, prefix := range []string{"NOSCRIPT", "MOVED", "ASK", "TRYAGAIN"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// reroute makes a cluster client learn its slots again.
func (a *Appender) reroute(ctx context.Context) {
	if cluster, ok := a.lanes.rdb.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func overloaded(message string, after time.Duration) error {
	return &contact.Error{
		Code:       contact.CodeOverloaded,
		Message:    message + " Nothing was written.",
		Fix:        "Send the request again after the time in Retry-After.",
		RetryAfter: after,
	}
}

func notWritten(err error) error {
	return &contact.Error{
		Code:       contact.CodeQueueUnavailable,
		Message:    "The write queue cannot be reached. Nothing was written.",
		Fix:        "Send the request again after the time in Retry-After.",
		RetryAfter: time.Second,
		Err:        err,
	}
}

func fateUnknown(err error) error {
	return &contact.Error{
		Code: contact.CodeQueueUnavailable,
		Message: "The write queue did not answer. " +
			"It is unknown whether the write was accepted.",
		Fix:        "Send the request again with the same Idempotency-Key.",
		RetryAfter: time.Second,
		Err:        errors.Join(errUnknownFate, err),
	}
}
