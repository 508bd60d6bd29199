package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// limiter counts what a key may do: requests a period, credits of its account.
// Its errors mean that Redis did not answer. It bounds its own time.
type limiter interface {
	// Take asks for room in the rates of a key and for credits of its account.
	Take(ctx context.Context, t *contact.Toll) (contact.Grant, error)
	// Settle makes charges stand, in its own time.
	Settle(ctx context.Context, account uuid.UUID, holds []uuid.UUID)
	// Release gives charges back and returns what is left.
	Release(ctx context.Context, account uuid.UUID, holds []uuid.UUID) (int64, error)
	// LastKnown is what an account had left when Redis was last seen.
	LastKnown(ctx context.Context, account uuid.UUID) int64
}

// toll is what a request has to pay, and what it has paid so far.
type toll struct {
	// rates are the limits of the key, cost the credits of a call by its method.
	rates []contact.Rate
	cost  int
	// taken: the request was counted.
	taken bool
	// holds are its charges, until they are settled or released.
	holds []uuid.UUID
	// writes: the charges are of writes that may be durable although the request
	// failed, so that an unknown fate is left to the keeper.
	writes bool
}

// rates are the limits of a key: its own, else those of its dialect.
func rates(k *contact.Key, t dialect.Traits) []contact.Rate {
	if k.PerMinute <= 0 && k.PerDay <= 0 && t.PerSecond <= 0 {
		return nil
	}
	list := make([]contact.Rate, 0, 2)
	if k.PerMinute > 0 {
		list = append(list, contact.Rate{Name: "minute", Limit: k.PerMinute, Period: time.Minute})
	}
	if k.PerDay > 0 {
		list = append(list, contact.Rate{Name: "day", Limit: k.PerDay, Period: 24 * time.Hour})
	}
	if len(list) == 0 && t.PerSecond > 0 {
		list = append(list, contact.Rate{Name: "second", Limit: t.PerSecond, Period: time.Second})
	}
	return list
}

// owe notes what a request of a known caller has to pay.
func (x *exchange) owe() {
	traits := x.dialect.Traits()
	x.toll.rates, x.toll.cost = rates(x.key, traits), traits.WriteCost
	if safe(x.Method) {
		x.toll.cost = traits.ReadCost
	}
}

// safe tells whether a method changes nothing.
func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// paysLate tells whether a route pays its toll itself, in the one round trip
// before the append, when it knows which writes there are. What it refuses before
// is counted, and not charged.
func (r *route) paysLate() bool {
	switch r.pattern {
	case "/contacts/{id}":
		return r.method == http.MethodPatch || r.method == http.MethodDelete
	case "/contacts", "/contacts/batch", "/contacts/{id}/restore":
		return r.method == http.MethodPost
	default:
		return false
	}
}

// payFirst takes the toll of a request before its handler runs, unless the
// handler does.
func (s *Server) payFirst(ctx context.Context, x *exchange) error {
	if x.route.paysLate() {
		return nil
	}
	grant, err := s.take(ctx, x, x.toll.cost, []uuid.UUID{uuid.New()})
	if err != nil && safe(x.Method) {
		// While Redis is away reads go on, without limits.
		s.opt.Logger.DebugContext(ctx, "limits are not enforced", "err", err)
		if x.toll.cost > 0 {
			x.credits = s.opt.Limits.LastKnown(ctx, x.account())
		}
		return nil
	}
	return refuse(grant, err)
}

// payWrite takes the toll of one write. It returns insufficient_credits also for
// the repeat of an earlier write, which costs nothing: the caller finds out.
func (s *Server) payWrite(ctx context.Context, x *exchange, id uuid.UUID) error {
	if x.toll.taken {
		return nil
	}
	x.toll.writes = true
	grant, err := s.take(ctx, x, x.toll.cost, []uuid.UUID{id})
	return refuse(grant, err)
}

// refuse makes the error of a request of one unit that was not granted.
func refuse(grant contact.Grant, err error) error {
	switch {
	case err != nil:
		return tollUnknown(err)
	case grant.Allowed == 0:
		return overLimit(grant)
	case grant.Paid == 0:
		return outOfCredits()
	default:
		return nil
	}
}

// take asks for one unit for each id, and puts what is left into the headers. The
// request is counted, whatever comes of it, unless Redis does not answer.
func (s *Server) take(ctx context.Context, x *exchange, cost int, ids []uuid.UUID) (contact.Grant, error) {
	t := contact.Toll{
		Account: x.key.Account, Key: x.key.ID, Rates: x.toll.rates,
		Units: len(ids), Cost: cost, Holds: ids,
	}
	if x.toll.taken {
		t.Rates = nil
	}
	x.toll.taken = true
	// Whoever hangs up meanwhile has been counted all the same.
	grant, err := s.opt.Limits.Take(context.WithoutCancel(ctx), &t)
	if err != nil {
		return grant, err
	}
	if len(t.Rates) > 0 {
		showQuotas(x.w.Header(), grant.Quotas, s.now())
	}
	if cost > 0 {
		x.credits = grant.Credits
	}
	if grant.Metered {
		for _, id := range ids[:grant.Paid] {
			if id != uuid.Nil {
				x.toll.holds = append(x.toll.holds, id)
			}
		}
	}
	return grant, nil
}

// payLast counts a request that was refused before its toll was due, and gives
// back what a refused one has paid. It returns what is to be answered: a request
// over its limit is told so, whatever else is wrong with it.
func (s *Server) payLast(ctx context.Context, x *exchange, failure error) error {
	if x.key == nil {
		return failure
	}
	if !x.toll.taken {
		grant, err := s.take(ctx, x, 0, []uuid.UUID{uuid.Nil})
		if err == nil && grant.Allowed == 0 {
			failure = overLimit(grant)
		}
	}
	if !x.toll.writes || !unavailable(failure) {
		s.giveBack(ctx, x, x.toll.holds)
	}
	s.metrics.countRefusal(x, failure)
	return failure
}

// settle makes the charges of an answered request stand.
func (s *Server) settle(ctx context.Context, x *exchange) {
	if len(x.toll.holds) > 0 {
		s.opt.Limits.Settle(context.WithoutCancel(ctx), x.key.Account, x.toll.holds)
	}
}

// giveBack gives charges of the request back before it is answered, so that the
// next one finds them there. If Redis does not answer they are the keeper's.
func (s *Server) giveBack(ctx context.Context, x *exchange, holds []uuid.UUID) {
	if len(holds) == 0 {
		return
	}
	x.toll.holds = slices.DeleteFunc(slices.Clone(x.toll.holds), func(id uuid.UUID) bool {
		return slices.Contains(holds, id)
	})
	left, err := s.opt.Limits.Release(context.WithoutCancel(ctx), x.key.Account, holds)
	if err != nil {
		s.opt.Logger.DebugContext(ctx, "charges are left to the keeper", "err", err)
		return
	}
	x.credits = left
}

// CameIn tells whether a write was accepted and has not failed: whether its
// charge stands. It says no only if the ledger and the queue were both asked.
func (s *Server) CameIn(ctx context.Context, account, write uuid.UUID) (bool, error) {
	record, err := s.locate(ctx, contact.WriteRef{Account: account, ID: write})
	if contact.CodeOf(err) == contact.CodeNotFound {
		return false, nil
	}
	switch record.State {
	case contact.Failed, contact.Retried, contact.Discarded:
		return false, err
	default:
		return err == nil, err
	}
}

func overLimit(grant contact.Grant) error {
	return &contact.Error{
		Code: contact.CodeRateLimited, Message: "The key has used up its allowance of requests.",
		RetryAfter: grant.RetryAfter,
	}
}

func outOfCredits() error {
	return &contact.Error{
		Code: contact.CodeInsufficientCredits, Message: "The account has fewer credits left than the call costs.",
	}
}

// tollUnknown refuses a write whose toll nobody could be asked for.
func tollUnknown(err error) error {
	return &contact.Error{
		Code: contact.CodeQueueUnavailable, Message: "The limits of the key cannot be asked for. Nothing was written.",
		RetryAfter: time.Second, Err: err,
	}
}
