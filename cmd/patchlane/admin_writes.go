package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"patchlane/api"
	"patchlane/api/signature"
	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/limit"
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
		t := table{head: []string{"lane", "depth", "oldest", "owner"}}
		var depth int64
		for _, st := range stats {
			v := laneView{Lane: st.Lane.String(), Depth: st.Depth, OldestSeconds: st.Oldest.Seconds()}
			if st.Owner != "" {
				v.Owner = &st.Owner
			}
			views = append(views, v)
			depth += st.Depth
			if st.Depth > 0 || st.Owner != "" {
				t.rows = append(t.rows, []string{v.Lane, strconv.FormatInt(st.Depth, 10), st.Oldest.Round(time.Millisecond).String(), orDash(st.Owner)})
			}
		}
		t.note = fmt.Sprintf("%d lanes, %d entries wait; lanes that are empty and without an owner are not shown.", len(stats), depth)
		return d.say(map[string]any{"depth": depth, "lanes": views}, t)
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
	Retry   writesRetryCmd   `cmd:"" help:"Append a failed write again, as a new write at the tail of its lane."`
	Discard writesDiscardCmd `cmd:"" help:"Give a failed write up. Its state is then discarded."`
}

// writesListCmd is `patchlane admin writes list`.
type writesListCmd struct {
	adminBase
	State   string    `name:"state" default:"failed" enum:"failed,applied,unchanged,retried,discarded,any" help:"failed, applied, unchanged, retried, discarded or any (default: ${default})."`
	Account uuid.UUID `name:"account" placeholder:"ID" help:"Writes of this account alone."`
	Contact uuid.UUID `name:"contact" placeholder:"ID" help:"Writes of this contact alone."`
	Code    string    `name:"code" placeholder:"CODE" help:"Failures with this code alone, such as duplicate."`
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
		Contact: c.Contact, Code: contact.Code(c.Code), Limit: c.Limit, After: c.Cursor,
	}
	if c.State == "any" {
		q.State = ""
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		page, err := d.db.Writes(ctx, q)
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

// writesRetryCmd is `patchlane admin writes retry`.
type writesRetryCmd struct {
	adminBase
	ID    uuid.UUID `arg:"" name:"id" help:"Id of the failed write."`
	Force bool      `name:"force" help:"Send every field; without it only fields that were not changed since."`
}

// Run appends the write again, on the very path of POST /v1/writes/{id}/retry.
func (c *writesRetryCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		w, receipt, err := d.retry(ctx, c.ID, c.Force)
		if err != nil {
			return about("write", c.ID, err)
		}
		v := retryView{receipt.WriteID, w.Contact, contact.Queued, receipt.AcceptedAt, c.ID}
		return d.say(v, pairs("write", v.WriteID.String(), "retry of", c.ID.String(), "state", string(v.State)))
	})
}

// retryView is what `admin writes retry` prints: the new write.
type retryView struct {
	WriteID    uuid.UUID     `json:"write_id"`
	ContactID  uuid.UUID     `json:"contact_id"`
	State      contact.State `json:"state"`
	AcceptedAt time.Time     `json:"accepted_at"`
	RetryOf    uuid.UUID     `json:"retry_of"`
}

// retry builds an API server that serves nobody, so that a retry from here and
// one over HTTP cannot differ, and has it append the write.
func (d *desk) retry(ctx context.Context, id uuid.UUID, force bool) (w *contact.Write, receipt contact.Receipt, err error) {
	account, err := d.db.AccountOfFailed(ctx, id)
	if err != nil {
		return nil, receipt, err
	}
	lanes, counts, closeLanes, err := d.lanes(ctx)
	if err != nil {
		return nil, receipt, err
	}
	bell := asynq.NewClient(d.target.asynq(ringConns))
	appender := lane.NewAppender(lanes, lane.AppenderConfig{Ring: tasks.Ring(bell)}) //nolint:contextcheck // It lives until Close.
	limits := limit.New(d.side, limit.Config{Book: d.db, Logger: d.logger, Registerer: prometheus.NewRegistry()})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, appender.Close(ctx), limits.Close(ctx), bell.Close(), closeLanes())
	}()
	accessTokens, err := (&config{}).tokens(d.db, d.copies, d.logger)
	if err != nil {
		return nil, receipt, err
	}
	server, err := api.New(api.Options{
		Tokens: accessTokens, Limits: limits,
		Optouts: (&config{}).optouts(d.db, d.copies, appender, signature.NewSNSClient(), d.logger),
		Lanes:   counts, Contacts: d.db, Ledger: d.db, Failed: d.db, Keys: d.db, Mirror: d.copies,
		Settings: d.db, SettingsEditor: d.db, SettingsMirror: d.copies,
		Appender: appender, Lane: lanes, Replies: lane.NewReplies(d.side, uuid.NewString(), d.logger),
		Ready:  func(context.Context) api.Readiness { return api.Readiness{} },
		Logger: d.logger, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, receipt, err
	}
	defer server.Close()
	return server.Retry(ctx, contact.WriteRef{Account: account, ID: id}, api.Retry{Force: force, Actor: "admin"})
}

// writesDiscardCmd is `patchlane admin writes discard`.
type writesDiscardCmd struct {
	adminBase
	ID uuid.UUID `arg:"" name:"id" help:"Id of the failed write."`
}

// Run gives the write up. Said twice it is said.
func (c *writesDiscardCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		account, err := d.db.AccountOfFailed(ctx, c.ID)
		if err == nil {
			err = d.db.Discard(ctx, account, c.ID)
		}
		if err != nil {
			return about("write", c.ID, err)
		}
		record, err := d.db.Write(ctx, account, c.ID)
		if err != nil {
			return about("write", c.ID, err)
		}
		v := viewWrite(&record)
		return d.say(v, pairs("write", v.WriteID.String(), "state", string(v.State)))
	})
}
