package lane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

const (
	// replyShards keeps waiters of different writes off each other's lock.
	replyShards = 64
	// replyBytes is where a message of outcomes is ended: a subscriber that
	// lags is cut off by Redis by bytes.
	replyBytes = 1 << 20
	// replyBacklog is how many messages may wait in this process.
	replyBacklog = 1024
)

// Publish tells an API process the outcomes that it waits for. It never waits
// for that process: an outcome that is not heard is found in the ledger.
func (l *Lanes) Publish(ctx context.Context, replyTo string, outcomes []contact.Outcome) error {
	var messages [][]byte
	message := []byte{'['}
	for i := range outcomes {
		b, err := json.Marshal(&outcomes[i])
		if err != nil {
			return fmt.Errorf("publish outcomes: %w", err)
		}
		if len(message) > 1 && len(message)+len(b) > replyBytes {
			messages = append(messages, append(message, ']'))
			message = []byte{'['}
		}
		if len(message) > 1 {
			message = append(message, ',')
		}
		message = append(message, b...)
	}
	if len(message) > 1 {
		messages = append(messages, append(message, ']'))
	}
	for _, m := range messages {
		if err := l.rdb.Publish(ctx, replyChannel(replyTo), m).Err(); err != nil {
			return fmt.Errorf("publish outcomes: %w", err)
		}
	}
	return nil
}

// Replies hears the outcomes of the writes that name this process in reply_to.
// It is a shortcut: an outcome may be lost, so a waiter MUST also ask the ledger.
type Replies struct {
	rdb    redis.UniversalClient
	name   string
	logger *slog.Logger
	shards [replyShards]replyShard
}

type replyShard struct {
	mu      sync.Mutex
	waiters map[uuid.UUID][]chan contact.Outcome
}

// NewReplies returns the replies to a process. The name MUST be its own.
func NewReplies(rdb redis.UniversalClient, name string, logger *slog.Logger) *Replies {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Replies{rdb: rdb, name: name, logger: logger}
	for i := range r.shards {
		r.shards[i].waiters = map[uuid.UUID][]chan contact.Outcome{}
	}
	return r
}

// Name returns what a write carries in reply_to.
func (r *Replies) Name() string { return r.name }

// Expect returns a channel that gets the outcome of a write once, if it is heard.
// The function ends the waiting; it MUST be called, and may be called twice.
func (r *Replies) Expect(id uuid.UUID) (<-chan contact.Outcome, func()) {
	ch := make(chan contact.Outcome, 1)
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters[id] = append(s.waiters[id], ch)
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		left := slices.DeleteFunc(s.waiters[id], func(c chan contact.Outcome) bool { return c == ch })
		if len(left) == 0 {
			delete(s.waiters, id)
			return
		}
		s.waiters[id] = left
	}
}

// shard picks by the last byte, which is random in every UUID of ours.
func (r *Replies) shard(id uuid.UUID) *replyShard { return &r.shards[id[15]%replyShards] }

// Run hears outcomes until ctx ends, through every loss of the connection.
func (r *Replies) Run(ctx context.Context) error {
	sub := r.rdb.Subscribe(ctx, replyChannel(r.name))
	messages := sub.Channel(redis.WithChannelSize(replyBacklog))
	for {
		select {
		case m, open := <-messages:
			if !open {
				return errors.New("hear replies: subscription closed")
			}
			r.deliver(ctx, m.Payload)
		case <-ctx.Done():
			if err := sub.Close(); err != nil {
				return fmt.Errorf("end hearing replies: %w", err)
			}
			return nil
		}
	}
}

// deliver hands outcomes to their waiters. A waiter's channel has room for one;
// whoever got an outcome already is not waited for.
func (r *Replies) deliver(ctx context.Context, payload string) {
	var outcomes []contact.Outcome
	if err := json.Unmarshal([]byte(payload), &outcomes); err != nil {
		r.logger.WarnContext(ctx, "unreadable reply was dropped", "bytes", len(payload), "err", err)
		return
	}
	for _, o := range outcomes {
		s := r.shard(o.WriteID)
		s.mu.Lock()
		for _, ch := range s.waiters[o.WriteID] {
			select {
			case ch <- o:
			default:
			}
		}
		s.mu.Unlock()
	}
}
