// Package tasks names what runs through asynq: task types, queues, payloads
// and options. asynq is the doorbell of the lanes, nothing more: a task says
// that a lane has something, never what. Order, durability and the position
// of a lane are kept elsewhere, so losing, repeating or reordering a task
// cannot lose, repeat or reorder a write; it can only make one wait for the
// sweep.
package tasks

import (
	"time"

	"patchlane/tasks/contact"
)

// TypeDrain is the type of the task that says: this lane has something.
const TypeDrain = "lane:drain"

// The queues. Each has slots of its own, so that no number of waiting writes
// can keep an opt-out from being picked up.
const (
	QueueWrites  = "writes"
	QueueOptouts = "optouts"
)

const (
	// drainTimeout is far above the slice of a drain and its longest back-off:
	// when it ends asynq gives the task back while the handler still runs,
	// which is harmless but useless.
	drainTimeout = 2 * time.Minute
	// drainRetries bounds how often asynq repeats a task whose worker died.
	// The sweep is much faster, so this is only a second net.
	drainRetries = 3
)

// Queues lists every queue of ours.
func Queues() []string { return []string{QueueWrites, QueueOptouts} }

// QueueOf returns the queue that rings for a lane.
func QueueOf(lane contact.Lane) string {
	if lane.Kind == 'a' {
		return QueueOptouts
	}
	return QueueWrites
}
