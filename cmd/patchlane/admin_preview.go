package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// writesPreviewCmd is `patchlane admin writes preview`.
type writesPreviewCmd struct {
	adminBase
	selection
	Force bool `name:"force" help:"As a retry with --force would."`
	Limit int  `name:"limit" default:"25" help:"With --all: the first so many, 1 to 500 (default: ${default})."`
}

// Help is the long text of --help.
func (*writesPreviewCmd) Help() string {
	return `Plays the retries, in their order, against the contacts as they are now, by the code that would apply them. Nothing changes.
Fields that somebody changed since are named as skipped. What still waits in the lanes is not seen.`
}

// previewView is what one retry would do.
type previewView struct {
	WriteID   uuid.UUID    `json:"write_id"`
	Account   uuid.UUID    `json:"account"`
	ContactID uuid.UUID    `json:"contact_id"`
	FailedAs  contact.Code `json:"failed_as"`
	// Would is applied, unchanged, failed or refused.
	Would   string           `json:"would"`
	Code    contact.Code     `json:"code,omitempty"`
	Message string           `json:"message,omitempty"`
	Changes []contact.Change `json:"changes"`
	Skipped []contact.Skip   `json:"skipped"`
}

func viewPreview(p *contact.RetryPreview) previewView {
	o := &p.Outcome
	v := previewView{
		WriteID: p.ID, Account: p.Account, ContactID: p.Contact, FailedAs: p.Code,
		Would: string(o.State), Code: o.Code, Message: o.Message, Changes: o.Changes, Skipped: o.Skipped,
	}
	if p.Refused != "" {
		v.Would, v.Message = "refused", p.Refused
	}
	if v.Changes == nil {
		v.Changes = []contact.Change{}
	}
	if v.Skipped == nil {
		v.Skipped = []contact.Skip{}
	}
	return v
}

// Run shows what one retry, or the first of many, would do.
func (c *writesPreviewCmd) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > pageOfMany {
		return &configError{fmt.Errorf("--limit: %d is not within 1 and %d", c.Limit, pageOfMany)}
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		refs, err := c.refs(ctx, d)
		if err != nil {
			return err
		}
		previews, err := d.db.PreviewRetries(ctx, refs, c.Force)
		if err != nil {
			return err
		}
		if c.All {
			return d.sayPreviews(previews)
		}
		if len(previews) == 0 {
			return about("write", c.ID, &contact.Error{Code: contact.CodeNotFailed, Message: "it did not fail"})
		}
		v := viewPreview(&previews[0])
		return d.say(v, changesTable(&v))
	})
}

func (c *writesPreviewCmd) refs(ctx context.Context, d *desk) ([]contact.WriteRef, error) {
	if !c.All {
		account, err := d.db.AccountOfFailed(ctx, c.ID)
		if err != nil {
			return nil, about("write", c.ID, err)
		}
		return []contact.WriteRef{{Account: account, ID: c.ID}}, nil
	}
	q := c.query()
	q.Limit = c.Limit
	page, err := d.db.Failures(ctx, q)
	return refsOf(page), err
}

// sayPreviews prints a line a write.
func (d *desk) sayPreviews(previews []contact.RetryPreview) error {
	views := make([]previewView, 0, len(previews))
	t := table{head: []string{"write", "contact", "failed as", "would be", "changes", "skipped"}}
	for i := range previews {
		v := viewPreview(&previews[i])
		views = append(views, v)
		would := v.Would
		if v.Code != "" {
			would += ": " + string(v.Code)
		}
		t.rows = append(t.rows, []string{
			v.WriteID.String(), v.ContactID.String(), string(v.FailedAs), would,
			fmt.Sprint(len(v.Changes)), fmt.Sprint(len(v.Skipped)),
		})
	}
	return d.say(map[string]any{"previews": views}, t)
}

// changesTable shows one write field by field.
func changesTable(v *previewView) table {
	t := table{head: []string{"field", "now", "would be"}, note: "Would be " + v.Would + "."}
	if v.Message != "" {
		t.note = "Would be " + v.Would + ": " + v.Message
	}
	for _, c := range v.Changes {
		t.rows = append(t.rows, []string{c.Field, string(c.Old), string(c.New)})
	}
	for _, s := range v.Skipped {
		t.rows = append(t.rows, []string{s.Field, "", "left alone: " + s.Reason})
	}
	return t
}

// drySummary counts what a retry of many would do.
type drySummary struct {
	Writes    int            `json:"writes"`
	Applied   int            `json:"applied"`
	Unchanged int            `json:"unchanged"`
	Refused   int            `json:"refused"`
	Failed    map[string]int `json:"failed"`
	// Skipped counts, by field, what would be left alone.
	Skipped map[string]int `json:"skipped"`
	// Changed counts, by field, what would be changed.
	Changed map[string]int `json:"changed"`
}

// dryRun previews everything selected and prints the sums.
func (d *desk) dryRun(ctx context.Context, c *selection, force bool) error {
	sum := drySummary{Failed: map[string]int{}, Skipped: map[string]int{}, Changed: map[string]int{}}
	add := func(refs []contact.WriteRef) error {
		previews, err := d.db.PreviewRetries(ctx, refs, force)
		for i := range previews {
			sum.add(&previews[i])
		}
		return err
	}
	if !c.All {
		account, err := d.db.AccountOfFailed(ctx, c.ID)
		if err != nil {
			return about("write", c.ID, err)
		}
		if err := add([]contact.WriteRef{{Account: account, ID: c.ID}}); err != nil {
			return err
		}
		return d.say(sum, sum.table())
	}
	n, err := d.count(ctx, c.query())
	if err != nil {
		return err
	}
	bar := d.bar(n, "previewing")
	err = d.eachPage(ctx, c.query(), func(page []contact.Failure) error {
		defer func() { _ = bar.Add(len(page)) }()
		return add(refsOf(page))
	})
	_ = bar.Finish()
	if err != nil {
		return err
	}
	return d.say(sum, sum.table())
}

func (s *drySummary) add(p *contact.RetryPreview) {
	s.Writes++
	switch {
	case p.Refused != "":
		s.Refused++
	case p.Outcome.State == contact.Failed:
		s.Failed[string(p.Outcome.Code)]++
	case p.Outcome.State == contact.Unchanged:
		s.Unchanged++
	default:
		s.Applied++
	}
	for _, c := range p.Outcome.Changes {
		s.Changed[c.Field]++
	}
	for _, k := range p.Outcome.Skipped {
		s.Skipped[k.Field]++
	}
}

func (s *drySummary) table() table {
	t := pairs("failed writes", fmt.Sprint(s.Writes), "would be applied", fmt.Sprint(s.Applied),
		"would change nothing", fmt.Sprint(s.Unchanged), "cannot be retried", fmt.Sprint(s.Refused))
	for _, part := range []struct {
		name   string
		counts map[string]int
	}{{"would fail: ", s.Failed}, {"would change: ", s.Changed}, {"would be left alone: ", s.Skipped}} {
		for _, name := range slices.Sorted(maps.Keys(part.counts)) {
			t.rows = append(t.rows, []string{part.name + name, fmt.Sprint(part.counts[name])})
		}
	}
	return t
}
