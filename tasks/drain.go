package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/hibiken/asynq"

	"patchlane/tasks/contact"
)

// drainPayload is the whole content of a drain task.
type drainPayload struct {
	Lane       string `json:"lane"`
	Generation int64  `json:"generation"`
}

// encode writes the one spelling of a payload.
func encode(lane contact.Lane, generation int64) []byte {
	return []byte(`{"lane":"` + lane.String() + `","generation":` + strconv.FormatInt(generation, 10) + `}`)
}

// DrainID returns the asynq task id of one generation of one lane, such as
// "c017-g42". It has no braces: they would move the task's key to another
// slot of a Redis Cluster than its queue.
func DrainID(lane contact.Lane, generation int64) string {
	return lane.String() + "-g" + strconv.FormatInt(generation, 10)
}

// NewDrain makes the task that rings one generation of a lane, and the options
// to enqueue it with. The id makes ringing idempotent. Unique is left out
// because together with an id it leaks its lock, and Retention because a kept
// task would block its id.
func NewDrain(lane contact.Lane, generation int64) (*asynq.Task, []asynq.Option) {
	return asynq.NewTask(TypeDrain, encode(lane, generation)), []asynq.Option{
		asynq.TaskID(DrainID(lane, generation)),
		asynq.Queue(QueueOf(lane)),
		asynq.MaxRetry(drainRetries),
		asynq.Timeout(drainTimeout),
	}
}

// ParseDrain reads what NewDrain wrote and refuses every other spelling: a
// task of ours that looks different was not made by us.
func ParseDrain(task *asynq.Task) (lane contact.Lane, generation int64, err error) {
	var p drainPayload
	if err := json.Unmarshal(task.Payload(), &p); err != nil {
		return contact.Lane{}, 0, fmt.Errorf("parse drain: %w", err)
	}
	if lane, err = contact.ParseLane(p.Lane); err != nil {
		return contact.Lane{}, 0, fmt.Errorf("parse drain: %w", err)
	}
	if p.Generation < 1 || !bytes.Equal(task.Payload(), encode(lane, p.Generation)) {
		return contact.Lane{}, 0, fmt.Errorf("parse drain: %q is not the payload of a drain", task.Payload())
	}
	return lane, p.Generation, nil
}

// Ring returns a function that rings one generation of a lane. Ringing again
// is free: a task that is already there, whether an earlier call put it there
// or an earlier try of this one whose answer was lost, counts as rung.
func Ring(client *asynq.Client) func(ctx context.Context, lane contact.Lane, generation int64) error {
	return func(ctx context.Context, lane contact.Lane, generation int64) error {
		task, options := NewDrain(lane, generation)
		_, err := client.EnqueueContext(ctx, task, options...)
		if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			return fmt.Errorf("ring lane %s, generation %d: %w", lane, generation, err)
		}
		return nil
	}
}
