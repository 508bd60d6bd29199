package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
)

// contactCmd is `patchlane admin contact`.
type contactCmd struct {
	Erase contactEraseCmd `cmd:"" help:"Take a contact and every value known of it away, for good."`
}

// contactEraseCmd is `patchlane admin contact erase`.
type contactEraseCmd struct {
	adminBase
	Account uuid.UUID     `name:"account" required:"" placeholder:"ID" help:"Account of the contact."`
	Wait    time.Duration `name:"wait" default:"30s" help:"Longest time to wait for the end (default: ${default})."`
	ID      uuid.UUID     `arg:"" name:"id" help:"Id of the contact."`
}

// Help is the long text of --help.
func (*contactEraseCmd) Help() string {
	return `For requests of people to be forgotten. It stands in the contact's line like a write: what was accepted before is applied and then
erased, and what comes after fails as not_found (a create with the same id as duplicate) without anything of it being kept. So a
sync that still waits, or does not know of it, does not bring the contact back under its id; under another id it is a new contact.

Gone are the contact, the old and new values in the audit log, the bodies of failed writes (which are discarded), and its addresses in
events, quarantine and suppressions. Opt-outs go on counting: a keyed hash stands for an address that no other contact has. Which
field changed when and by whom stays, and so does an event that waits for a decision, until it is decided.

Not reached: backups, Redis' append-only file until it is rewritten, and whatever other systems keep.

It is safe to repeat, and finished by a worker if this command is cut off. Exit 0: nothing is left; exit 1: no such contact, or not
finished within --wait.

Example: patchlane admin contact erase --account 0192… 0193…`
}

// erasureView is what `admin contact erase` prints.
type erasureView struct {
	ContactID uuid.UUID `json:"contact_id"`
	Account   uuid.UUID `json:"account"`
	WriteID   uuid.UUID `json:"write_id"`
	ErasedAt  time.Time `json:"erased_at"`
	// DoneAt is when the last value was gone.
	DoneAt *time.Time `json:"done_at"`
}

// Run erases a contact and waits for the end.
func (c *contactEraseCmd) Run(ctx context.Context, s streams) error {
	if c.Wait <= 0 {
		return &configError{fmt.Errorf("--wait: %s is not above 0", c.Wait)}
	}
	ref := contact.Ref{Account: c.Account, ID: c.ID}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		ctx, cancel := context.WithTimeoutCause(ctx, c.Wait, fmt.Errorf("not finished within %s; say it again to go on waiting", c.Wait))
		defer cancel()
		e, err := d.erase(ctx, ref)
		if err != nil {
			return about("contact", c.ID, errors.Join(err, context.Cause(ctx)))
		}
		t := pairs("contact", e.ID.String(), "erased", moment(&e.ErasedAt), "nothing left", moment(e.DoneAt))
		return d.say(erasureView{e.ID, e.Account, e.WriteID, e.ErasedAt, e.DoneAt}, t)
	})
}

// erase sends the erasure through the contact's lane, unless that was done
// before, waits until it was applied, and takes the rest out.
func (d *desk) erase(ctx context.Context, ref contact.Ref) (contact.Erasure, error) {
	if _, err := d.db.Erasure(ctx, ref); contact.CodeOf(err) == contact.CodeNotFound {
		known, err := d.db.Known(ctx, ref)
		if err != nil {
			return contact.Erasure{}, err
		}
		if !known {
			return contact.Erasure{}, &contact.Error{Code: contact.CodeNotFound, Message: "the account has no such contact"}
		}
		if err := d.appendErase(ctx, ref); err != nil {
			return contact.Erasure{}, err
		}
	}
	wait := backOff{wait: 10 * time.Millisecond, most: 500 * time.Millisecond}
	for {
		e, err := d.db.Erasure(ctx, ref)
		if err == nil && e.DoneAt != nil {
			return e, nil
		}
		if err == nil {
			err = d.db.FinishErasures(ctx)
		}
		if err != nil && contact.CodeOf(err) != contact.CodeNotFound {
			d.logger.WarnContext(ctx, "erasure is not finished yet", "err", err)
		}
		if !wait.pause(ctx) {
			return e, context.Cause(ctx)
		}
	}
}

// appendErase makes the erasure durable in the lane of the contact.
func (d *desk) appendErase(ctx context.Context, ref contact.Ref) (err error) {
	lanes, counts, closeLanes, err := d.lanes(ctx)
	if err != nil {
		return err
	}
	version, err := d.db.EntryVersion(ctx)
	if err != nil {
		return errors.Join(err, closeLanes())
	}
	bell := asynq.NewClient(d.target.asynq(ringConns))
	appender := lane.NewAppender(lanes, lane.AppenderConfig{Ring: tasks.Ring(bell), EntryVersion: func() int { return version }}) //nolint:contextcheck // It lives until Close.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, appender.Close(ctx), bell.Close(), closeLanes())
	}()
	id, err := contact.NewWriteID(time.Now(), contact.LaneOf(ref.ID, counts.Contact))
	if err != nil {
		return err
	}
	_, err = appender.Append(ctx, &contact.Write{
		ID: id, Account: ref.Account, Contact: ref.ID, Kind: contact.KindErase, Source: contact.SourceAdmin, Actor: "admin",
	})
	return err
}
