package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"patchlane/api"
	"patchlane/tasks/contact"
)

// confirmPageSize is how many of the picked writes are played before a replay.
const confirmPageSize = 500

// confirmView says what a replay of everything that matches would do.
type confirmView struct {
	Filter   filter
	Matching int64
	// Played is how many of them, from the first, were played.
	Played                                int
	Applied, Unchanged, Refused, WillFail int
	LeftAlone                             int
	Sample                                []contact.RetryPreview
	Force                                 bool
}

// sampleSize is how many of the played writes are listed.
const sampleSize = 10

func (c *Console) confirmPage(v *visit) error {
	p := confirmView{Filter: readFilter(v.query), Force: v.query("force") != ""}
	q, err := p.Filter.query(c.o.Now())
	if err != nil {
		return err
	}
	if p.Matching, err = c.matching(v, q); err != nil {
		return err
	}
	q.Limit = confirmPageSize
	failures, err := c.o.Failures.Failures(v.r.Context(), q)
	if err != nil {
		return err
	}
	refs := make([]contact.WriteRef, len(failures))
	for i, f := range failures {
		refs[i] = f.WriteRef
	}
	previews, err := c.o.Failures.PreviewRetries(v.r.Context(), refs, p.Force)
	if err != nil {
		return err
	}
	p.Played, p.Sample = len(previews), previews[:min(len(previews), sampleSize)]
	for i := range previews {
		p.add(&previews[i])
	}
	return v.show(http.StatusOK, "confirm", "Retry failed writes", p)
}

func (p *confirmView) add(r *contact.RetryPreview) {
	if len(r.Outcome.Skipped) > 0 {
		p.LeftAlone++
	}
	switch {
	case r.Refused != "":
		p.Refused++
	case r.Outcome.State == contact.Failed:
		p.WillFail++
	case r.Outcome.State == contact.Unchanged:
		p.Unchanged++
	default:
		p.Applied++
	}
}

// picked is what a form of failed writes is about: some by their ids, or all that
// a filter leaves.
func (c *Console) picked(v *visit) (contact.FailureQuery, string, error) {
	if v.form("all") != "" {
		f := readFilter(v.form)
		q, err := f.query(c.o.Now())
		return q, f.String(), err
	}
	ids := v.r.PostForm["id"]
	if len(ids) == 0 {
		return contact.FailureQuery{}, "", badInput("No write was picked.")
	}
	q := contact.FailureQuery{AllAccounts: true, IDs: []uuid.UUID{}}
	for _, text := range ids {
		id, err := parseID(text, "write")
		if err != nil {
			return q, "", err
		}
		q.IDs = append(q.IDs, id)
	}
	if len(ids) == 1 {
		return q, ids[0], nil
	}
	return q, fmt.Sprintf("%d picked writes", len(ids)), nil
}

// retry starts a replay and shows how it goes.
func (c *Console) retry(v *visit) error {
	q, what, err := c.picked(v)
	if err != nil {
		return err
	}
	each, err := readRate(v.form("rate"))
	if err != nil {
		return err
	}
	n, err := c.matching(v, q)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("start replay: %w", err)
	}
	j := &job{
		ID: id, What: what, By: v.session.name, Force: v.form("force") != "", Rate: each, Started: c.o.Now(), Total: int(n),
	}
	action := "retry writes"
	if j.Force {
		action = "retry writes, every field"
	}
	err = c.jobs.start(v.r.Context(), j, func(ctx context.Context) (api.ReplayProgress, error) {
		return c.o.API.Replay(ctx, api.Replay{
			Query: q, Each: api.Retry{Force: j.Force, Actor: "operator"}, Rate: each, Progress: j.progress,
		})
	}, c.o.Now, func(end jobView) {
		problem := end.Problem
		if end.Stopped {
			problem = "stopped"
		}
		c.record(context.WithoutCancel(v.r.Context()), contact.OperatorAction{
			Operator: j.By, Via: "console", Action: action, Account: q.Account, Target: what,
			Detail: fmt.Sprintf("%d retried, %d refused", end.Done.Retried, end.Done.Refused), Problem: problem,
		})
	})
	if err != nil {
		return err
	}
	v.back("/ops/replays/"+id.String(), "")
	return nil
}

// readRate reads writes a second; empty: no bound.
func readRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	r, err := strconv.ParseFloat(text, 64)
	if err != nil || !(r > 0 && r <= 1e6) {
		return 0, badInput("The rate is not a number of writes a second.")
	}
	return r, nil
}

func (v *visit) job() (*job, error) {
	id, err := parseID(v.r.PathValue("id"), "replay")
	if err != nil {
		return nil, err
	}
	j := v.jobs.find(id)
	if j == nil {
		return nil, &contact.Error{Code: contact.CodeNotFound}
	}
	return j, nil
}

func (c *Console) jobPage(v *visit) error {
	j, err := v.job()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "job", "Replay", j.view())
}

func (c *Console) cancelJob(v *visit) error {
	j, err := v.job()
	if err != nil {
		return err
	}
	j.cancel()
	v.back("/ops/replays/"+j.ID.String(), "Stopping. What is left stays failed; retry it again to go on.")
	return nil
}

// discard gives writes up.
func (c *Console) discard(v *visit) error {
	q, what, err := c.picked(v)
	if err != nil {
		return err
	}
	total := 0
	for {
		q.Limit = confirmPageSize
		page, err := c.o.Failures.Failures(v.r.Context(), q)
		if err == nil && len(page) > 0 {
			refs := make([]contact.WriteRef, len(page))
			for i, f := range page {
				refs[i] = f.WriteRef
			}
			var n int
			n, err = c.o.Failures.DiscardMany(v.r.Context(), refs)
			total += n
		}
		if err != nil || len(page) == 0 {
			v.note("discard writes", q.Account, what, fmt.Sprintf("%d discarded", total), err)
			if err != nil {
				return err
			}
			v.back("/ops/failed", fmt.Sprintf("%d discarded.", total))
			return nil
		}
		place := page[len(page)-1].Place()
		q.After = &place
	}
}
