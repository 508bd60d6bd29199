package worker

import (
	"context"
	"time"

	"patchlane/tasks/contact"
)

// publish sends the committed outcomes that somebody waits for, one message a
// waiting process. Outcomes of replays are sent too: their first message may
// have been lost with the process that was to send it. A message that cannot
// be sent is dropped, since the ledger answers as well.
func (p *pass) publish(ctx context.Context, batch []contact.Entry, outcomes []contact.Outcome) {
	for replyTo, group := range awaited(batch, outcomes) {
		err := p.step(ctx, "publish outcomes of", redisStep, func(ctx context.Context) error {
			return p.o.Publish(ctx, replyTo, group)
		})
		if err != nil {
			p.metrics.unpublished.Add(float64(len(group)))
			p.o.Logger.WarnContext(ctx, "outcomes not published",
				"lane", p.lane.String(), "outcomes", len(group), "err", err)
		}
	}
}

// awaited groups the outcomes that are waited for by the process that waits.
func awaited(batch []contact.Entry, outcomes []contact.Outcome) map[string][]contact.Outcome {
	var groups map[string][]contact.Outcome
	for i := range outcomes {
		replyTo := batch[i].ReplyTo
		if replyTo == "" {
			continue
		}
		if groups == nil {
			groups = make(map[string][]contact.Outcome, 1)
		}
		groups[replyTo] = append(groups[replyTo], outcomes[i])
	}
	return groups
}

// fresh returns the places of the outcomes that were made by this batch: those
// of replays were counted when they were made. All outcomes of one transaction
// carry one time, and that of a replay is older.
func fresh(applied contact.AppliedBatch) []int {
	places := make([]int, 0, len(applied.Outcomes))
	if applied.Replays == len(applied.Outcomes) {
		return places
	}
	var newest time.Time
	for i := range applied.Outcomes {
		if at := applied.Outcomes[i].AppliedAt; at.After(newest) {
			newest = at
		}
	}
	for i := range applied.Outcomes {
		if applied.Replays == 0 || applied.Outcomes[i].AppliedAt.Equal(newest) {
			places = append(places, i)
		}
	}
	return places
}
