package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Fail records one entry as failed and moves the lane's offset behind it, in
// one transaction. It cannot fail on data: what a retry needs is stored as
// bytes, and of everything else only ids, times and constant words. Its errors
// are those of Apply but for *contact.DataError. An entry that the ledger
// knows is left as it is, and its outcome is returned.
func (s *Store) Fail(
	ctx context.Context, lane contact.Lane, entry contact.Entry, cause *contact.DataError,
) (contact.Outcome, error) {
	out, err := s.fail(ctx, lane, entry, cause)
	if refused, ok := errors.AsType[*contact.DataError](err); ok {
		// No value that is left can be refused, so this is not reached; but a
		// lane that stands still for ever would be worse than a lost name.
		s.logger.ErrorContext(ctx, "recording a failure was refused, recording it for nobody", "err", err)
		anonymous := contact.Entry{Offset: entry.Offset, Raw: entry.Raw, Poison: refused}
		anonymous.ID = poisonID(lane, entry.Offset)
		out, err = s.fail(ctx, lane, anonymous, cause)
	}
	return out, err
}

func (s *Store) fail(
	ctx context.Context, lane contact.Lane, entry contact.Entry, cause *contact.DataError,
) (contact.Outcome, error) {
	tidy(&entry)
	applied, err := s.redo(ctx, "record failure in lane "+lane.String(),
		func(ctx context.Context, wait bool) (contact.AppliedBatch, error) {
			b := s.newBatch(lane, []contact.Entry{entry})
			tx, err := s.beginLane(ctx, lane, wait)
			if err != nil {
				return contact.AppliedBatch{}, err
			}
			defer tx.rollback(ctx)
			if err := tx.lockAndLookUp(ctx, b); err != nil {
				return contact.AppliedBatch{}, err
			}
			if err := tx.dropKnown(ctx, b); err != nil {
				return contact.AppliedBatch{}, err
			}
			b.failAll(cause)
			if err := tx.write(ctx, b); err != nil {
				return contact.AppliedBatch{}, err
			}
			if err := tx.commit(ctx); err != nil {
				return contact.AppliedBatch{}, err
			}
			s.alarmStale(ctx, b)
			return b.applied(), nil
		})
	if err != nil {
		return contact.Outcome{}, err
	}
	return applied.Outcomes[0], nil
}

// failAll takes the place of the fold: every new entry failed.
func (b *batch) failAll(cause *contact.DataError) {
	for i := range b.work {
		o := contact.Outcome{State: contact.Failed, Changes: []contact.Change{}}
		o.Code, o.Message = reason(cause)
		complete(&o, &b.work[i], b.now)
		b.folded.Outcomes = append(b.folded.Outcomes, o)
	}
	b.folded.Consumed = len(b.work)
}

// reason picks the words of a failure. The text of Postgres is not among them:
// it quotes values.
func reason(cause *contact.DataError) (contact.Code, string) {
	code, message := contact.CodeDataError, "the store refused a value of this write"
	if cause == nil {
		return code, message
	}
	if cause.Code != "" {
		code = contact.Code(tidyText(string(cause.Code)))
	}
	var shown *contact.Error
	if errors.As(cause.Err, &shown) && shown.Message != "" {
		message = tidyText(shown.Message)
	} else if code == contact.CodeUnreadable {
		message = "the entry cannot be read by this release"
	}
	return code, message
}

// tidy makes every word and time of an entry one that Postgres takes.
func tidy(e *contact.Entry) {
	e.Actor = tidyText(e.Actor)
	e.Source = contact.Source(tidyText(string(e.Source)))
	if y := e.AcceptedAt.Year(); e.AcceptedAt.IsZero() || y < 1 || y > 9999 {
		e.AcceptedAt = offsetTime(e.Offset)
	}
	if e.RetryOf != uuid.Nil && e.Poison != nil {
		e.RetryOf = uuid.Nil
	}
}

// tidyText drops what a text column refuses, and bounds the length.
func tidyText(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) > 255 {
		s = strings.ToValidUTF8(s[:255], "")
	}
	return s
}

// offsetTime is the time that a stream id carries, held within what Postgres
// and JSON can say.
func offsetTime(o contact.Offset) time.Time {
	const year9999 = 253402300799000
	return time.UnixMilli(int64(min(o.Ms, year9999))).UTC()
}
