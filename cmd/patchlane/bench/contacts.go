package bench

import (
	"context"
	"fmt"
	"net/http"
)

// makeContacts makes the contacts of the run and waits until they are stored,
// so that the load measures changes alone.
func (r *run) makeContacts(ctx context.Context) error {
	m := newMeter(r.stderr, "making contacts", r.Contacts)
	defer m.done()
	r.contacts = make([]*target, r.Contacts)
	for i := range r.contacts {
		r.contacts[i] = &target{index: i}
	}
	const size = 500
	batches := (r.Contacts + size - 1) / size
	err := each(ctx, batches, func(ctx context.Context, i int) error {
		return r.create(ctx, r.contacts[i*size:min((i+1)*size, r.Contacts)])
	})
	if err != nil {
		return err
	}
	return each(ctx, len(r.contacts), func(ctx context.Context, i int) error {
		t := r.contacts[i]
		o, err := r.outcomeOf(ctx, t.created)
		if err != nil {
			return err
		}
		if o.State != stateApplied {
			return fmt.Errorf("contact %d: the create is %s", i, o.State)
		}
		t.id = o.ContactID
		m.step()
		return nil
	})
}

// create makes contacts by one batch, and again those that were put off.
func (r *run) create(ctx context.Context, targets []*target) error {
	for wait := firstPause; len(targets) > 0; wait = min(2*wait, longestPause) {
		body := make([]batchRow, len(targets))
		for i, t := range targets {
			body[i] = batchRow{
				Patch: map[string]string{"first_name": "Bench", "last_name": fmt.Sprintf("Contact %d", t.index), "source": "patchlane bench"},
				Key:   fmt.Sprintf("%s:create:%d", r.name, t.index),
			}
		}
		var answer batchAnswer
		_, err := r.client.do(ctx, request{
			method: http.MethodPost, path: "/v1/contacts/batch", body: map[string]any{"writes": body},
		}, &answer)
		if err != nil {
			return err
		}
		var again []*target
		for _, res := range answer.Data.Results {
			switch {
			case res.Index < 0 || res.Index >= len(targets):
			case res.later():
				again = append(again, targets[res.Index])
			case res.Status >= http.StatusBadRequest:
				return res.err()
			default:
				targets[res.Index].created = res.WriteID
			}
		}
		targets = again
		if len(targets) > 0 && !pause(ctx, wait) {
			return ctx.Err()
		}
	}
	return nil
}
