package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// listReviews lists the reports that somebody has to judge; without a state,
// those that nobody judged yet.
func (s *Server) listReviews(ctx context.Context, x *exchange) error {
	q := x.readQuery("state", "limit", "cursor")
	ask := contact.ReviewQuery{Account: x.account(), Limit: q.limit(), After: q.text("cursor")}
	switch state := contact.ReviewState(q.text("state")); state {
	case "":
		ask.State = contact.ReviewPending
	case "all":
	case contact.ReviewPending, contact.ReviewAccepted, contact.ReviewDismissed:
		ask.State = state
	default:
		q.bad("state", "The state must be pending, accepted, dismissed or all.")
	}
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Optouts.Reviews.Reviews(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	body, err := dialect.EncodeReviews(&page, ask.Limit)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// getReview shows one review.
func (s *Server) getReview(ctx context.Context, x *exchange) error {
	r, err := s.review(ctx, x)
	if err != nil {
		return err
	}
	return showReview(x, &r)
}

// acceptReview makes a report the opt-out that it may be. Accepting what is
// accepted changes nothing.
func (s *Server) acceptReview(ctx context.Context, x *exchange) error {
	if err := x.noMembers(); err != nil {
		return err
	}
	r, err := s.review(ctx, x)
	if err != nil {
		return err
	}
	switch r.State {
	case contact.ReviewAccepted:
		return showReview(x, &r)
	case contact.ReviewDismissed:
		return decided("dismissed")
	case contact.ReviewPending:
	}
	e := r.Accept(x.key.ID.String())
	said, err := s.say(ctx, x, e, []string{e.Address})
	if err != nil {
		return err
	}
	if !said.done {
		return x.queuedEvent(said)
	}
	if r, err = s.review(ctx, x); err != nil {
		return err
	}
	return showReview(x, &r)
}

// dismissReview decides that a report is no opt-out.
func (s *Server) dismissReview(ctx context.Context, x *exchange) error {
	if err := x.noMembers(); err != nil {
		return err
	}
	id, err := x.reviewID()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	r, err := s.opt.Optouts.Reviews.DismissReview(ctx, x.account(), id, x.key.ID.String())
	if err != nil {
		return storeError(err)
	}
	if r.State == contact.ReviewAccepted {
		return decided("accepted")
	}
	return showReview(x, &r)
}

// decided refuses to judge a report the other way round.
func decided(how string) error {
	return &contact.Error{Code: contact.CodeAlreadyDecided, Message: "The review was " + how + " before."}
}

// review reads the review of the path.
func (s *Server) review(ctx context.Context, x *exchange) (contact.OptOutReview, error) {
	id, err := x.reviewID()
	if err != nil {
		return contact.OptOutReview{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	r, err := s.opt.Optouts.Reviews.Review(ctx, x.account(), id)
	return r, storeError(err)
}

// showReview answers one review.
func showReview(x *exchange, r *contact.OptOutReview) error {
	body, err := dialect.EncodeReview(r)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// AcceptReview makes a report the opt-out that it may be, for operators: it is
// durable when this returns, and decided when its address lane was drained.
// Accepting what is accepted changes nothing.
func (s *Server) AcceptReview(ctx context.Context, account, id uuid.UUID, actor string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	r, err := s.opt.Optouts.Reviews.Review(ctx, account, id)
	if err != nil {
		return storeError(err)
	}
	switch r.State {
	case contact.ReviewAccepted:
		return nil
	case contact.ReviewDismissed:
		return decided("dismissed")
	case contact.ReviewPending:
	}
	e := r.Accept(actor)
	if err := e.Mint(s.now(), s.opt.Lanes.Address); err != nil {
		return fmt.Errorf("mint event: %w", err)
	}
	return s.appendEvents(ctx, []*contact.Event{&e})
}
