package api

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"patchlane/tasks/contact"
)

const (
	// replayPage is how many failures are claimed and appended at a time.
	replayPage = 500
	// replayTries is how often in a row an append may be refused before a replay
	// gives up, and replayWait the pause after the first refusal.
	replayTries = 20
	replayWait  = 100 * time.Millisecond
	replayMost  = 5 * time.Second
	// replayProblems is how many refusals a replay remembers word by word.
	replayProblems = 100
)

// Replay says which failed writes are to be retried, and how.
type Replay struct {
	// Query picks the writes; its Limit and After are not used.
	Query contact.FailureQuery
	// Each is how a write is retried.
	Each Retry
	// Rate is the most writes a second; 0: as fast as they are taken.
	Rate float64
	// Progress, if given, is told after every step. It MUST be fast.
	Progress func(ReplayProgress)
}

// ReplayProgress is how far a replay got.
type ReplayProgress struct {
	// Retried were appended, Left were retried by somebody else meanwhile,
	// Refused cannot be retried.
	Retried int `json:"retried"`
	Left    int `json:"left"`
	Refused int `json:"refused"`
	// Problems are the first of the refusals.
	Problems []ReplayProblem `json:"problems,omitempty"`
}

// Done is how many failures were dealt with.
func (p ReplayProgress) Done() int { return p.Retried + p.Left + p.Refused }

// ReplayProblem is a write that cannot be retried.
type ReplayProblem struct {
	WriteID uuid.UUID    `json:"write_id"`
	Code    contact.Code `json:"code"`
	Message string       `json:"message"`
}

// Replay retries every failed write that the query finds, in the order in which
// they were accepted: a write of a contact is appended after all earlier ones of
// that contact are. A failure that comes of the replay itself is not retried again.
//
// It may be cut off at any moment, by the end of ctx or of the process: what was
// claimed and not appended is open, and the next replay goes on with it, under
// the same ids. So a replay is resumed by starting it again.
func (s *Server) Replay(ctx context.Context, how Replay) (ReplayProgress, error) {
	r := &replayer{Server: s, how: how, minted: map[uuid.UUID]struct{}{}, limit: rate.NewLimiter(rate.Inf, 0)}
	page := replayPage
	if how.Rate > 0 {
		// Ten steps a second, so that the rate is even and the progress is seen.
		page = min(max(int(how.Rate/10), 1), replayPage)
		r.limit = rate.NewLimiter(rate.Limit(how.Rate), page)
	}
	q := how.Query
	q.Limit, q.After = page, nil
	for {
		failures, err := s.failures(ctx, q)
		if err != nil {
			return r.progress, err
		}
		if len(failures) == 0 {
			return r.progress, nil
		}
		if err := r.step(ctx, r.foreign(failures)); err != nil {
			return r.progress, err
		}
		place := failures[len(failures)-1].Place()
		q.After = &place
	}
}

func (s *Server) failures(ctx context.Context, q contact.FailureQuery) ([]contact.Failure, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	failures, err := s.opt.Failed.Failures(ctx, q)
	return failures, storeError(err)
}

// replayer is one replay under way.
type replayer struct {
	*Server
	how      Replay
	limit    *rate.Limiter
	progress ReplayProgress
	// minted are the ids of the writes that this replay appended: one that fails
	// in its turn has the place of the first in the order.
	minted map[uuid.UUID]struct{}
}

// foreign leaves out the failures of this replay's own writes.
func (r *replayer) foreign(failures []contact.Failure) []contact.Failure {
	list := make([]contact.Failure, 0, len(failures))
	for _, f := range failures {
		if _, own := r.minted[f.ID]; !own {
			list = append(list, f)
		}
	}
	return list
}

// step retries one page. Within it, the second write of a contact waits until
// the first is appended, and so on: what is appended together may be refused
// one by one, and an order once lost does not come back.
func (r *replayer) step(ctx context.Context, failures []contact.Failure) error {
	for _, wave := range waves(failures) {
		if len(wave) == 0 {
			continue
		}
		if err := r.limit.WaitN(ctx, len(wave)); err != nil {
			return err
		}
		if err := r.wave(ctx, wave); err != nil {
			return err
		}
		if r.how.Progress != nil {
			r.how.Progress(r.progress)
		}
	}
	return nil
}

// waves puts the n-th write of each contact into the n-th wave.
func waves(failures []contact.Failure) [][]contact.Failure {
	var list [][]contact.Failure
	rank := make(map[contact.Ref]int, len(failures))
	for _, f := range failures {
		ref := contact.Ref{Account: f.Account, ID: f.Contact}
		n := rank[ref]
		rank[ref]++
		if n == len(list) {
			list = append(list, nil)
		}
		list[n] = append(list[n], f)
	}
	return list
}

// wave retries writes of as many contacts. Those that an earlier retry claimed
// go one by one, since that retry may be at it still, or done.
func (r *replayer) wave(ctx context.Context, wave []contact.Failure) error {
	claims := make([]contact.RetryClaim, 0, len(wave))
	for _, f := range wave {
		switch {
		case f.Claimed:
			if err := r.one(ctx, f.WriteRef); err != nil {
				return err
			}
		case f.Code == contact.CodeUnreadable:
			r.refuse(f.ID, &contact.Error{Code: contact.CodeUnreadable, Message: "The failed write cannot be read."})
		case f.Kind == contact.KindConsent:
			r.refuse(f.ID, retriable(&contact.Record{Outcome: contact.Outcome{State: contact.Failed, Kind: f.Kind}}))
		default:
			id, err := contact.NewWriteID(r.now(), contact.LaneOf(f.Contact, r.opt.Lanes.Contact))
			if err != nil {
				return err
			}
			claims = append(claims, contact.RetryClaim{WriteRef: f.WriteRef, NewID: id})
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return r.many(ctx, claims)
}

// one finishes what another retry began.
func (r *replayer) one(ctx context.Context, ref contact.WriteRef) error {
	w, _, err := r.Retry(ctx, ref, r.how.Each)
	switch {
	case err == nil:
		r.minted[w.ID] = struct{}{}
		r.progress.Retried++
	case contact.CodeOf(err) == contact.CodeAlreadyRetried:
		r.progress.Left++
		return r.noteSent(ctx, ref)
	case unavailable(err) || contact.CodeOf(err) == contact.CodeOverloaded || ctx.Err() != nil:
		return err
	default:
		r.refuse(ref.ID, err)
	}
	return nil
}

// noteSent notes a retry that was sent and not noted. One that is in no lane and
// has no outcome is left: somebody claimed it within the last seconds.
func (r *replayer) noteSent(ctx context.Context, ref contact.WriteRef) error {
	record, err := r.ledgerRow(ctx, ref)
	if err != nil {
		return err
	}
	_, err = r.locate(ctx, contact.WriteRef{Account: ref.Account, ID: record.RetriedAs})
	switch {
	case err == nil:
		r.sent(ctx, []contact.WriteRef{ref})
		return nil
	case contact.CodeOf(err) == contact.CodeNotFound:
		return nil
	default:
		return err
	}
}

// many claims and appends writes of as many contacts.
func (r *replayer) many(ctx context.Context, claims []contact.RetryClaim) error {
	claimed, err := r.claimAll(ctx, claims)
	if err != nil {
		return err
	}
	r.progress.Left += len(claims) - len(claimed)
	writes := make([]*contact.Write, 0, len(claimed))
	for i := range claimed {
		w, err := claimed[i].Repeat(r.how.Each.Force)
		if err != nil {
			r.refuse(claimed[i].ID, err)
			continue
		}
		w.Actor, w.TraceParent = r.how.Each.Actor, r.how.Each.TraceParent
		r.minted[w.ID] = struct{}{}
		writes = append(writes, &w)
	}
	return r.appendAll(ctx, writes)
}

func (r *replayer) claimAll(ctx context.Context, claims []contact.RetryClaim) ([]contact.FailedWrite, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	claimed, err := r.opt.Failed.ClaimRetries(ctx, claims)
	return claimed, storeError(err)
}

// appendAll appends until every write is in, or it is time to give up. What was
// refused, or has an unknown fate, is sent again with the same id.
func (r *replayer) appendAll(ctx context.Context, writes []*contact.Write) error {
	pause := replayWait
	for try := 0; len(writes) > 0; try++ {
		left, why := r.appendOnce(ctx, writes)
		if len(left) < len(writes) {
			try, pause = 0, replayWait
		}
		if writes = left; len(writes) == 0 {
			return nil
		}
		if try >= replayTries || !temporary(why) {
			return why
		}
		if e, ok := errors.AsType[*contact.Error](why); ok {
			pause = max(pause, min(e.RetryAfter, replayMost))
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, replayMost)
	}
	return nil
}

func temporary(err error) bool {
	code := contact.CodeOf(err)
	return code == contact.CodeOverloaded || code == contact.CodeQueueUnavailable
}

// appendOnce returns the writes that are not known to be in, and why. It is not
// cut off: what was claimed is to be sent and noted.
func (r *replayer) appendOnce(ctx context.Context, writes []*contact.Write) (left []*contact.Write, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	ctx, span := r.traces.append(ctx, len(writes))
	span.carryWrites(writes...)
	receipts, errs := r.opt.Appender.AppendAll(ctx, writes)
	span.end(receipts, errs...)
	sent := make([]contact.WriteRef, 0, len(writes))
	for i, err := range errs {
		if err != nil {
			left, why = append(left, writes[i]), queueError(err)
			continue
		}
		if writes[i].Kind == contact.KindArchive {
			r.existence.forget(writes[i].Ref())
		}
		sent = append(sent, contact.WriteRef{Account: writes[i].Account, ID: writes[i].RetryOf})
	}
	if len(sent) > 0 {
		r.progress.Retried += len(sent)
		r.sent(ctx, sent)
	}
	return left, why
}

func (r *replayer) refuse(id uuid.UUID, err error) {
	r.progress.Refused++
	if len(r.progress.Problems) == replayProblems {
		return
	}
	p := ReplayProblem{WriteID: id, Code: contact.CodeOf(err)}
	if e, ok := errors.AsType[*contact.Error](err); ok {
		p.Message = e.Message
	}
	r.progress.Problems = append(r.progress.Problems, p)
}

// rest waits, or returns why it must not.
func rest(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
