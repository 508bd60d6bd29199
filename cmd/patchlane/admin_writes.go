package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// lanesCmd is `patchlane admin lanes`.
type lanesCmd struct{ adminBase }

// laneView is one lane as operators see it.
type laneView struct {
	Lane  string `json:"lane"`
	Depth int64  `json:"depth"`
	// OldestSeconds is the age of the first waiting entry; 0: none waits.
	OldestSeconds float64 `json:"oldest_seconds"`
	// Owner is the drain at work; null: none.
	Owner *string `json:"owner"`
	// Aside is how many entries of paused accounts wait beside the lane.
	Aside  int64 `json:"aside"`
	Paused bool  `json:"paused"`
}

// Run describes every lane.
func (c *lanesCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		lanes, _, closeLanes, err := d.lanes(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = closeLanes() }()
		stats, err := lanes.Stats(ctx)
		if err != nil {
			return err
		}
		views := make([]laneView, 0, len(stats))
		t := table{head: []string{"lane", "depth", "oldest", "aside", "owner"}}
		var depth int64
		for _, st := range stats {
			v := laneView{Lane: st.Lane.String(), Depth: st.Depth, OldestSeconds: st.Oldest.Seconds(), Aside: st.Aside, Paused: st.Paused}
			if st.Owner != "" {
				v.Owner = &st.Owner
			}
			views = append(views, v)
			depth += st.Depth
			if st.Depth > 0 || st.Aside > 0 || st.Owner != "" {
				t.rows = append(t.rows, []string{v.Lane, strconv.FormatInt(st.Depth, 10), st.Oldest.Round(time.Millisecond).String(), strconv.FormatInt(st.Aside, 10), orDash(st.Owner)})
			}
		}
		t.note = fmt.Sprintf("%d lanes, %d entries wait; lanes that are empty and without an owner are not shown.", len(stats), depth)
		pauses, err := lanes.Pauses(ctx)
		if err != nil {
			return err
		}
		for _, p := range pauses {
			t.note += "\nPaused: " + pauseScope(p) + ", by " + p.By + " at " + p.At.Format(time.RFC3339) + "."
		}
		return d.say(map[string]any{"depth": depth, "lanes": views, "pauses": pauses}, t)
	})
}

// lanes opens the lanes of this installation.
func (d *desk) lanes(ctx context.Context) (*lane.Lanes, contact.LaneCounts, func() error, error) {
	counts, err := d.db.Lanes(ctx)
	if err != nil {
		return nil, counts, nil, err
	}
	queue := d.target.queueClient(8)
	return lane.New(queue, lane.Config{Counts: counts, Logger: d.logger}), counts, queue.Close, nil
}

// adminWriteCmd is `patchlane admin writes`.
type adminWriteCmd struct {
	List    writesListCmd    `cmd:"" help:"List writes that have an outcome, newest first."`
	Preview writesPreviewCmd `cmd:"" help:"Show what a retry of failed writes would change now."`
	Retry   writesRetryCmd   `cmd:"" help:"Append failed writes again, as new writes at the tails of their lanes."`
	Discard writesDiscardCmd `cmd:"" help:"Give failed writes up. Their state is then discarded."`
}

// writesListCmd is `patchlane admin writes list`.
type writesListCmd struct {
	adminBase
	State   string    `name:"state" default:"failed" enum:"failed,applied,unchanged,retried,discarded,any" help:"failed, applied, unchanged, retried, discarded or any (default: ${default})."`
	Account uuid.UUID `name:"account" placeholder:"ID" help:"Writes of this account alone."`
	Contact uuid.UUID `name:"contact" placeholder:"ID" help:"Writes of this contact alone."`
	Code    string    `name:"code" placeholder:"CODE" help:"Failures with this code alone, such as duplicate."`
	Since   since     `name:"since" placeholder:"2h" help:"Outcomes since then alone: a duration such as 2h, or a moment such as 2026-11-22T03:00:00Z."`
	All     bool      `name:"all" help:"Every page, not one."`
	Limit   int       `name:"limit" default:"25" help:"Size of a page, 1 to 100 (default: ${default})."`
	Cursor  string    `name:"cursor" placeholder:"CURSOR" help:"next_cursor of the page before."`
}

// writeView is one write as operators see it.
type writeView struct {
	WriteID    uuid.UUID     `json:"write_id"`
	Account    uuid.UUID     `json:"account"`
	ContactID  uuid.UUID     `json:"contact_id"`
	Kind       string        `json:"kind"`
	State      contact.State `json:"state"`
	Code       contact.Code  `json:"code,omitempty"`
	Message    string        `json:"message,omitempty"`
	AcceptedAt time.Time     `json:"accepted_at"`
	AppliedAt  time.Time     `json:"applied_at"`
	RetryOf    *uuid.UUID    `json:"retry_of"`
	RetriedAs  *uuid.UUID    `json:"retried_as"`
}

func viewWrite(r *contact.Record) writeView {
	return writeView{
		WriteID: r.WriteID, Account: r.Account, ContactID: r.ID, Kind: r.Kind.String(),
		State: r.State, Code: r.Code, Message: r.Message, AcceptedAt: r.AcceptedAt, AppliedAt: r.AppliedAt,
		RetryOf: orNull(r.RetryOf), RetriedAs: orNull(r.RetriedAs),
	}
}

// orNull shows no id as null.
func orNull(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// Run lists one page.
func (c *writesListCmd) Run(ctx context.Context, s streams) error {
	if c.Limit < 1 || c.Limit > 100 {
		return &configError{fmt.Errorf("--limit: %d is not within 1 and 100", c.Limit)}
	}
	q := contact.WriteQuery{
		Account: c.Account, AllAccounts: c.Account == uuid.Nil, State: contact.State(c.State),
		Contact: c.Contact, Code: contact.Code(c.Code), Since: c.Since.at(), Limit: c.Limit, After: c.Cursor,
	}
	if c.All {
		q.Limit = wholeLimit
	}
	if c.State == "any" {
		q.State = ""
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		page, err := c.pages(ctx, d, q)
		if err != nil {
			return err
		}
		views := make([]writeView, 0, len(page.Writes))
		t := table{head: []string{"write", "contact", "kind", "state", "why", "accepted"}}
		for i := range page.Writes {
			v := viewWrite(&page.Writes[i])
			views = append(views, v)
			t.rows = append(t.rows, []string{v.WriteID.String(), v.ContactID.String(), v.Kind, string(v.State), orDash(string(v.Code)), v.AcceptedAt.Format(time.RFC3339)})
		}
		if page.HasMore {
			t.note = "There are more: --cursor " + page.Next
		}
		return d.say(map[string]any{"writes": views, "has_more": page.HasMore, "next_cursor": page.Next}, t)
	})
}

// wholeLimit is the size of a page when all are wanted.
const wholeLimit = 1000

// pages reads one page, or all of them as one.
func (c *writesListCmd) pages(ctx context.Context, d *desk, q contact.WriteQuery) (contact.WritePage, error) {
	page, err := d.db.Writes(ctx, q)
	for c.All && err == nil && page.HasMore {
		q.After = page.Next
		var next contact.WritePage
		next, err = d.db.Writes(ctx, q)
		page = contact.WritePage{Writes: append(page.Writes, next.Writes...), HasMore: next.HasMore, Next: next.Next}
	}
	return page, err
}
