package lane_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// hear runs replies until the test ends, and returns when they are subscribed.
func hear(t *testing.T, b *bundle, name string) *lane.Replies {
	t.Helper()
	r := lane.NewReplies(b.rdb, name, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	subscribed(t, b, name)
	return r
}

func subscribed(t *testing.T, b *bundle, name string) {
	t.Helper()
	eventually(t, "subscription", 10*time.Second, func() bool {
		return b.rdb.PubSubNumSub(t.Context(), "reply:"+name).Val()["reply:"+name] == 1
	})
}

func outcome(n int) contact.Outcome {
	notes := json.RawMessage(`"` + notes(n) + `"`)
	return contact.Outcome{
		WriteID: uuid.New(), State: contact.Applied, Version: 3,
		Changes: []contact.Change{{Field: "notes", Old: json.RawMessage("null"), New: notes}},
	}
}

func receive(t *testing.T, ch <-chan contact.Outcome) contact.Outcome {
	t.Helper()
	select {
	case o := <-ch:
		return o
	case <-time.After(5 * time.Second):
		t.Fatal("no reply")
		return contact.Outcome{}
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := hear(t, b, "one")
	batch := make([]contact.Outcome, 5) // more than one message
	heard := make([]<-chan contact.Outcome, 0, len(batch)+1)
	for i := range batch {
		batch[i] = outcome(400_000)
		ch, cancel := r.Expect(batch[i].WriteID)
		defer cancel()
		heard = append(heard, ch)
	}
	again, cancel := r.Expect(batch[0].WriteID) // a second waiter of one write
	defer cancel()
	heard = append(heard, again)
	gone, cancelGone := r.Expect(batch[1].WriteID)
	cancelGone()
	cancelGone()
	if err := b.lanes.Publish(t.Context(), "one", batch); err != nil {
		t.Fatalf("publish: %v", err)
	}
	if err := b.lanes.Publish(t.Context(), "one", batch); err != nil { // nobody reads the second
		t.Fatalf("publish: %v", err)
	}
	for i, ch := range heard {
		o := receive(t, ch)
		if want := batch[i%len(batch)]; o.WriteID != want.WriteID || len(o.Changes) != 1 {
			t.Errorf("reply %d is %s, want %s", i, o.WriteID, want.WriteID)
		}
	}
	select {
	case <-gone:
		t.Error("a waiter that went away got a reply")
	default:
	}
	if err := b.lanes.Publish(t.Context(), "nobody", batch[:1]); err != nil {
		t.Errorf("publish to nobody: %v", err)
	}
}

// A cut subscription comes back, and rubbish on the channel harms nobody.
func TestRepliesReconnect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := hear(t, b, "one")
	b.rdb.Publish(t.Context(), "reply:one", "rubbish")
	b.rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub")
	eventually(t, "a reply after the cut", 20*time.Second, func() bool {
		o := outcome(10)
		ch, cancel := r.Expect(o.WriteID)
		defer cancel()
		if err := b.lanes.Publish(t.Context(), "one", []contact.Outcome{o}); err != nil {
			t.Fatalf("publish: %v", err)
		}
		select {
		case <-ch:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
}
