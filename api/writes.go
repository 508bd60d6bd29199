package api

import (
	"context"
	"net/http"
	"slices"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// locate finds a write, in the ledger or still in its lane. A write moves from
// the lane to the ledger, never back, so ledger, lane, ledger finds every write
// there is; not_found is said only if all three answered.
func (s *Server) locate(ctx context.Context, ref contact.WriteRef) (contact.Record, error) {
	record, first := s.ledgerRow(ctx, ref)
	if first == nil {
		return record, nil
	}
	entry, queued, err := s.find(ctx, ref)
	if queued {
		return queuedRecord(&entry), nil
	}
	if contact.CodeOf(first) != contact.CodeNotFound {
		return contact.Record{}, first // asking again would double the wait for it
	}
	record, second := s.ledgerRow(ctx, ref)
	switch {
	case second == nil:
		return record, nil
	case contact.CodeOf(second) != contact.CodeNotFound:
		return contact.Record{}, second
	case err != nil:
		return contact.Record{}, err
	default:
		return contact.Record{}, notFound("write")
	}
}

// ledgerRow reads one write from the ledger.
func (s *Server) ledgerRow(ctx context.Context, ref contact.WriteRef) (contact.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	record, err := s.opt.Ledger.Write(ctx, ref.Account, ref.ID)
	return record, storeError(err)
}

// find looks for a write in its lane.
func (s *Server) find(ctx context.Context, ref contact.WriteRef) (contact.Entry, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	entry, found, err := s.opt.Lane.Find(ctx, ref.Account, ref.ID)
	return entry, found && err == nil, unavailableUnlessTold(err,
		contact.CodeQueueUnavailable, "The queue cannot be asked at the moment.")
}

// queuedRecord shows an entry that has no outcome yet.
func queuedRecord(e *contact.Entry) contact.Record {
	return contact.Record{
		Outcome: contact.Outcome{
			WriteID: e.ID, Ref: e.Ref(), Kind: e.Kind, State: contact.Queued, AcceptedAt: e.AcceptedAt,
		},
		Source: e.Source, Actor: e.Actor, RetryOf: e.RetryOf,
	}
}

// getWrite shows what became of a write, if the client wants once something
// did.
func (s *Server) getWrite(ctx context.Context, x *exchange) error {
	id, err := x.pathID("write")
	if err != nil {
		return err
	}
	x.writeID = id
	ref := contact.WriteRef{Account: x.account(), ID: id}
	record, err := s.locate(ctx, ref)
	if err != nil {
		return err
	}
	prefer := parsePrefer(x.Header)
	if applied := prefer.applied(); applied != "" {
		x.w.Header().Set("Preference-Applied", applied)
	}
	if wait := prefer.duration(0); wait > 0 && record.State == contact.Queued {
		if s.await(ctx, ref, nil, wait) != nil {
			if record, err = s.ledgerRow(ctx, ref); err != nil {
				return err
			}
		}
	}
	return s.showWrite(x, &record)
}

// showWrite answers one write.
func (s *Server) showWrite(x *exchange, record *contact.Record) error {
	body, err := dialect.EncodeWrite(s.writeView(record))
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// writeView adds to a failed write the error that a waiting client was given.
func (s *Server) writeView(record *contact.Record) dialect.WriteView {
	v := dialect.WriteView{Record: record}
	if record.Code != "" {
		v.Problem, _ = s.problem(&contact.Error{Code: record.Code, Message: record.Message}, "")
	}
	return v
}

// listWrites lists writes that have an outcome, the newest first.
func (s *Server) listWrites(ctx context.Context, x *exchange) error {
	q := x.readQuery("state", "contact_id", "code", "limit", "cursor")
	ask := contact.WriteQuery{
		Account: x.account(), State: contact.State(q.text("state")), Contact: q.contact("contact_id"),
		Code: contact.Code(q.text("code")), Limit: q.limit(), After: q.text("cursor"),
	}
	states := []contact.State{
		"", contact.Queued, contact.Applied, contact.Unchanged, contact.Failed, contact.Retried, contact.Discarded,
	}
	if !slices.Contains(states, ask.State) {
		q.bad("state", "The state must be applied, unchanged, failed, retried or discarded.")
	}
	if ask.State == contact.Queued {
		q.bad("state", "Queued writes are not listed; ask for one by its id.")
	}
	if _, known := s.answers[ask.Code]; ask.Code != "" && !known {
		q.bad("code", "There is no such code.")
	}
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Ledger.Writes(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	views := make([]dialect.WriteView, len(page.Writes))
	for i := range page.Writes {
		views[i] = s.writeView(&page.Writes[i])
	}
	body, err := dialect.EncodeWrites(views, ask.Limit, page.Next)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// changeLog lists who changed which field when.
func (s *Server) changeLog(ctx context.Context, x *exchange) error {
	q := x.readQuery("contact_id", "field", "write_id", "from", "to", "limit", "cursor")
	ask := contact.LogQuery{
		Account: x.account(), Contact: q.contact("contact_id"), WriteID: q.id("write_id"),
		From: q.time("from"), To: q.time("to"), Limit: q.limit(), After: q.text("cursor"),
	}
	if field := q.lookup("field", storable); field != nil {
		ask.Field = *field
	}
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Ledger.ChangeLog(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	body, err := x.dialect.Log(dialect.LogPage{Frame: s.frame(x), LogPage: &page, Limit: ask.Limit})
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}
