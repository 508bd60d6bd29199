package api

import (
	"context"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// retryWrite appends a failed write again, at the tail of its contact's line.
//
// The id of the new write is fixed in the failed row first, so that a retry
// that died between the two steps is completed by the next one with the same
// id: the ledger keeps one of them, however often it is appended.
func (s *Server) retryWrite(ctx context.Context, x *exchange) error {
	id, err := x.pathID("write")
	if err != nil {
		return err
	}
	force, err := x.readForce()
	if err != nil {
		return err
	}
	ref := contact.WriteRef{Account: x.account(), ID: id}
	w, receipt, err := s.Retry(ctx, ref, Retry{
		Force: force, Actor: x.key.ID.String(), TraceParent: x.traceParent(),
	})
	if w != nil {
		s.metrics.countAccept(x, receipt, err)
	}
	if err != nil {
		return err
	}
	x.writeID = receipt.WriteID
	return s.queued(x, accepted{ref: w.Ref(), kind: w.Kind, receipt: receipt})
}

// Retry says how a failed write is to be sent again.
type Retry struct {
	// Force sends every field, changed since or not.
	Force bool
	// Actor is who asks for it; TraceParent is the trace of the request.
	Actor, TraceParent string
}

// Retry appends a failed write again: for the route and for operators alike.
// Its errors are those that a client is answered with. The write is nil unless
// it got as far as the append.
func (s *Server) Retry(ctx context.Context, ref contact.WriteRef, how Retry) (*contact.Write, contact.Receipt, error) {
	w, err := s.claimRetry(ctx, ref, how.Force)
	if err != nil {
		return nil, contact.Receipt{}, err
	}
	w.Actor, w.TraceParent = how.Actor, how.TraceParent
	receipt, err := s.append(ctx, w)
	if err == nil {
		s.sent(ctx, []contact.WriteRef{ref})
	}
	return w, receipt, err
}

// sent notes that retries were appended. A note that is lost costs the next
// replay a look at the lane.
func (s *Server) sent(ctx context.Context, failed []contact.WriteRef) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := s.opt.Failed.RetriesSent(ctx, failed); err != nil {
		s.opt.Logger.WarnContext(ctx, "sent retries are not noted", "writes", len(failed), "err", err)
	}
}

// readForce reads the optional body of a retry.
func (x *exchange) readForce() (bool, error) {
	raw, err := x.readBody(maxBody)
	if err != nil || len(raw) == 0 {
		return false, err
	}
	force, problems, err := dialect.DecodeForce(raw)
	if err != nil {
		return false, err
	}
	if len(problems) > 0 {
		return false, invalid(problems)
	}
	return force, nil
}

// claimRetry fixes the id of the write that repeats a failed one, and returns
// that write.
func (s *Server) claimRetry(ctx context.Context, ref contact.WriteRef, force bool) (*contact.Write, error) {
	record, err := s.locate(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := retriable(&record); err != nil {
		return nil, err
	}
	newID, err := contact.NewWriteID(s.now(), contact.LaneOf(record.ID, s.opt.Lanes.Contact))
	if err != nil {
		return nil, err
	}
	failed, err := s.claim(ctx, ref, newID)
	if err != nil {
		return nil, err
	}
	if failed.RetryID != newID {
		// An earlier retry fixed the id. If its write got in, this is a second.
		_, err := s.locate(ctx, contact.WriteRef{Account: ref.Account, ID: failed.RetryID})
		if err == nil {
			s.sent(ctx, []contact.WriteRef{ref})
			return nil, alreadyRetried()
		}
		if contact.CodeOf(err) != contact.CodeNotFound {
			return nil, err
		}
	}
	w, err := failed.Repeat(force)
	return &w, err
}

// retriable refuses what cannot be retried before anything is fixed. A write
// that was retried may be one whose retry died half-way: the store decides.
func retriable(r *contact.Record) error {
	switch {
	case r.State == contact.Retried:
		return nil
	case r.State == contact.Discarded:
		return &contact.Error{Code: contact.CodeNotFailed, Message: "The write was discarded."}
	case r.State != contact.Failed:
		return &contact.Error{Code: contact.CodeNotFailed, Message: "The write is " + string(r.State) + "."}
	case r.Code == contact.CodeUnreadable:
		return &contact.Error{Code: contact.CodeUnreadable, Message: "The failed write cannot be read."}
	case r.Kind == contact.KindConsent:
		// Its id is one of an address lane, where no write can go.
		return &contact.Error{
			Code: contact.CodeNotFailed, Message: "This is an event about an address, which is not repeated.",
			Fix: "Suppress the address with POST /v1/suppressions, then discard this.",
		}
	default:
		return nil
	}
}

func alreadyRetried() error {
	return &contact.Error{Code: contact.CodeAlreadyRetried, Message: "The write was retried already."}
}

func (s *Server) claim(ctx context.Context, ref contact.WriteRef, newID uuid.UUID) (contact.FailedWrite, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	failed, err := s.opt.Failed.ClaimRetry(ctx, ref.Account, ref.ID, newID)
	return failed, storeError(err)
}

// discardWrite gives a failed write up.
func (s *Server) discardWrite(ctx context.Context, x *exchange) error {
	id, err := x.pathID("write")
	if err != nil {
		return err
	}
	if err := x.noMembers(); err != nil {
		return err
	}
	x.writeID = id
	ref := contact.WriteRef{Account: x.account(), ID: id}
	record, err := s.locate(ctx, ref)
	if err != nil {
		return err
	}
	switch record.State {
	case contact.Discarded: // said twice is said
	case contact.Failed:
		if err := s.discard(ctx, ref); err != nil {
			return err
		}
		record.State = contact.Discarded
	case contact.Retried:
		return alreadyRetried()
	default:
		return retriable(&record)
	}
	return s.showWrite(x, &record)
}

func (s *Server) discard(ctx context.Context, ref contact.WriteRef) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return storeError(s.opt.Failed.Discard(ctx, ref.Account, ref.ID))
}
