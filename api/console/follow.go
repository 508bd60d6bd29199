package console

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// followRows is how many writes and changes of a contact are listed.
const followRows = 50

// followView is one write or one contact from end to end.
type followView struct {
	ID      string
	Writes  []followedWrite
	Contact []followedContact
	// Nothing: the id is that of neither.
	Nothing bool
}

// followedWrite is one write: where it is, or what became of it.
type followedWrite struct {
	Lane contact.Lane
	// Queued is its entry while it waits; nil: it has an outcome.
	Queued  *contact.Entry
	Record  contact.Record
	Log     []contact.LogRow
	TraceID string
	Depth   int64
}

// followedContact is what the ledger knows of one contact.
type followedContact struct {
	Account uuid.UUID
	Lane    contact.Lane
	Depth   int64
	Writes  []contact.Record
	Log     []contact.LogRow
}

func (c *Console) followPage(v *visit) error {
	p := followView{ID: v.query("id")}
	id, err := parseID(p.ID, "text that you pasted")
	if err != nil {
		return err
	}
	if id != uuid.Nil {
		if err := errors.Join(c.followWrite(v, id, &p), c.followContact(v, id, &p)); err != nil {
			return err
		}
		p.Nothing = len(p.Writes)+len(p.Contact) == 0
	}
	return v.show(http.StatusOK, "follow", "Follow", p)
}

// depth is how much waits in a lane; 0 when nobody knows.
func (c *Console) depth(v *visit, l contact.Lane) int64 {
	stats, err := c.o.Lanes.Stats(v.r.Context())
	if err != nil {
		return 0
	}
	for _, s := range stats {
		if s.Lane == l {
			return s.Depth + s.Aside
		}
	}
	return 0
}

// followWrite looks into the ledger, then into the lane, then into the ledger: a
// write goes from the lane to the ledger and never back.
func (c *Console) followWrite(v *visit, id uuid.UUID, p *followView) error {
	found, err := c.ledgerWrites(v, id)
	if err != nil || len(found) > 0 {
		p.Writes = found
		return err
	}
	e, queued, err := c.o.Lanes.FindAny(v.r.Context(), id)
	if err != nil {
		return err
	}
	if queued {
		lane := contact.LaneOf(e.Contact, c.o.LaneCount)
		if l, ours := contact.LaneOfWrite(id); ours {
			lane = l
		}
		p.Writes = []followedWrite{{Lane: lane, Queued: &e, TraceID: traceID(e.TraceParent), Depth: c.depth(v, lane)}}
		return nil
	}
	p.Writes, err = c.ledgerWrites(v, id)
	return err
}

func (c *Console) ledgerWrites(v *visit, id uuid.UUID) ([]followedWrite, error) {
	ctx := v.r.Context()
	accounts, err := c.o.Ledger.AccountsOfWrite(ctx, id)
	if err != nil {
		return nil, err
	}
	var found []followedWrite
	for _, account := range accounts {
		w := followedWrite{}
		if w.Record, err = c.o.Ledger.Write(ctx, account, id); err != nil {
			return nil, err
		}
		if l, ours := contact.LaneOfWrite(id); ours {
			w.Lane = l
		}
		page, err := c.o.Ledger.ChangeLog(ctx, contact.LogQuery{Account: account, WriteID: id, Limit: followRows})
		if err != nil {
			return nil, err
		}
		w.Log = page.Rows
		if w.Record.State == contact.Failed {
			if previews, err := c.o.Failures.PreviewRetries(ctx, []contact.WriteRef{{Account: account, ID: id}}, false); err == nil && len(previews) == 1 {
				w.TraceID = traceID(previews[0].Write.TraceParent)
			}
		}
		found = append(found, w)
	}
	return found, nil
}

func (c *Console) followContact(v *visit, id uuid.UUID, p *followView) error {
	ctx := v.r.Context()
	accounts, err := c.o.Ledger.AccountsOfContact(ctx, id)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		lane := contact.LaneOf(id, c.o.LaneCount)
		f := followedContact{Account: account, Lane: lane, Depth: c.depth(v, lane)}
		writes, err := c.o.Ledger.Writes(ctx, contact.WriteQuery{Account: account, Contact: id, Limit: followRows})
		if err != nil {
			return err
		}
		log, err := c.o.Ledger.ChangeLog(ctx, contact.LogQuery{Account: account, Contact: id, Limit: followRows})
		if err != nil {
			return err
		}
		f.Writes, f.Log = writes.Writes, log.Rows
		p.Contact = append(p.Contact, f)
	}
	return nil
}
