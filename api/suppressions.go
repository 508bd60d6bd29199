package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// listSuppressions lists the suppressed addresses of the account.
func (s *Server) listSuppressions(ctx context.Context, x *exchange) error {
	q := x.readQuery("channel", "address", "limit", "cursor")
	ask := contact.SuppressionQuery{Account: x.account(), Limit: q.limit(), After: q.text("cursor")}
	if q.values.Has("channel") {
		channel, known := contact.ParseChannel(q.text("channel"))
		if ask.Channel = channel; !known {
			q.bad("channel", "The channel must be email or sms.")
		}
	}
	if q.values.Has("address") {
		keys := queryAddress(ask.Channel, q.text("address"))
		if len(keys) == 0 {
			q.bad("address", "The value cannot be an address.")
		} else {
			ask.Key = keys[0]
		}
	}
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Optouts.Suppressions.Suppressions(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	body, err := dialect.EncodeSuppressions(&page, ask.Limit)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// queryAddress returns the compared forms of an address in a query. A bare plus
// sign came as a space; without a channel the form of the address tells it.
func queryAddress(channel contact.Channel, raw string) []string {
	if strings.HasPrefix(raw, " ") {
		raw = "+" + raw[1:]
	}
	if channel == 0 && strings.Contains(raw, "@") {
		channel = contact.EmailChannel
	} else if channel == 0 {
		channel = contact.SMSChannel
	}
	return addressKeys(channel, raw)
}

// createSuppression opts an address out: every contact that has it, now or
// later.
func (s *Server) createSuppression(ctx context.Context, x *exchange) error {
	raw, err := x.readBody(maxBody)
	if err != nil {
		return err
	}
	body, problems, err := dialect.DecodeSuppression(raw)
	if err != nil {
		return err
	}
	e := contact.Event{Action: contact.OptOut, Cause: contact.Manual, Type: "create", Source: contact.SourceSuppression}
	var text string
	if body.Address == nil {
		problems = requires(problems, "address", "Say which address.")
	} else {
		text = *body.Address
	}
	if body.Channel == nil {
		problems = requires(problems, "channel", "Say which channel: email or sms.")
	} else {
		e.Channel, problems = channelIn(problems, *body.Channel)
	}
	if body.Reason != nil {
		cause, known := contact.ParseCause(*body.Reason)
		if e.Cause = cause; !known {
			problems = append(problems, contact.FieldError{
				Field: "reason", Code: contact.ProblemInvalidFormat,
				Message: "The reason must be keyword_stop, complaint, unsubscribe, hard_bounce, provider_suppressed or manual.",
			})
		}
	}
	e.Reason = e.Cause.String()
	keys, problems := addressIn(problems, e.Channel, text)
	if len(problems) > 0 {
		return invalid(problems)
	}
	said, err := s.say(ctx, x, e, keys)
	if err != nil {
		return err
	}
	if !said.done {
		return x.queuedEvent(said)
	}
	answer, err := dialect.EncodeSuppression(&contact.Suppression{
		Address: said.event.About(), Cause: e.Cause, Since: said.event.AcceptedAt, Event: said.event.ID, Source: said.event.Source,
	})
	if err != nil {
		return err
	}
	x.reply(http.StatusCreated, answer)
	return nil
}

// deleteSuppression takes the suppression of an address back. An address that
// is not suppressed stays so, which is a success.
func (s *Server) deleteSuppression(ctx context.Context, x *exchange) error {
	q := x.readQuery("channel", "address")
	e := contact.Event{
		Action: contact.Clear, Cause: contact.Manual, Reason: "cleared", Type: "delete", Source: contact.SourceSuppression,
	}
	e.Channel, q.problems = channelIn(q.problems, q.text("channel"))
	text := q.text("address")
	if strings.HasPrefix(text, " ") {
		text = "+" + text[1:]
	}
	keys, problems := addressIn(q.problems, e.Channel, text)
	if len(problems) > 0 {
		return invalid(problems)
	}
	if err := x.noMembers(); err != nil {
		return err
	}
	said, err := s.say(ctx, x, e, keys)
	if err != nil {
		return err
	}
	if !said.done {
		return x.queuedEvent(said)
	}
	x.reply(http.StatusNoContent, nil)
	return nil
}

func requires(problems []contact.FieldError, field, message string) []contact.FieldError {
	for _, p := range problems {
		if p.Field == field {
			return problems
		}
	}
	return append(problems, contact.FieldError{Field: field, Code: contact.ProblemRequired, Message: message})
}

// channelIn reads a channel.
func channelIn(problems []contact.FieldError, text string) (contact.Channel, []contact.FieldError) {
	channel, known := contact.ParseChannel(text)
	if !known {
		problems = append(problems, contact.FieldError{
			Field: "channel", Code: contact.ProblemInvalidFormat, Message: "The channel must be email or sms.",
		})
	}
	return channel, problems
}

// addressIn returns the compared forms of an address. A number is not refused
// because it looks invalid: not to keep an opt-out is the worse error.
func addressIn(
	problems []contact.FieldError, channel contact.Channel, text string,
) (keys []string, all []contact.FieldError) {
	if len(problems) > 0 {
		return nil, problems
	}
	if keys = addressKeys(channel, text); len(keys) == 0 {
		problems = append(problems, contact.FieldError{
			Field: "address", Code: contact.ProblemInvalidFormat,
			Message: "The value cannot be an address of the channel: send an e-mail address, or a phone number in E.164 form.",
		})
	}
	return keys, problems
}

// said is what an account said about an address, under its usual spelling.
type said struct {
	event *contact.Event
	// done: every contact that has the address was looked at.
	done bool
}

// say sends what the account says about an address through the lane of that
// address, once for each of its spellings, and waits until the contacts that
// have it were changed, as other writes of the API wait: ten seconds, unless
// the client prefers otherwise.
func (s *Server) say(ctx context.Context, x *exchange, e contact.Event, keys []string) (said, error) {
	prefer := parsePrefer(x.Header)
	if applied := prefer.applied(); applied != "" {
		x.w.Header().Set("Preference-Applied", applied)
	}
	e.Account, e.Actor, e.TraceParent = x.account(), x.key.ID.String(), x.traceParent()
	e.ReplyTo = s.opt.Replies.Name()
	events, heard := make([]*contact.Event, len(keys)), make([]<-chan contact.Outcome, len(keys))
	for i, key := range keys {
		one := e
		one.Address = key
		if err := one.Mint(s.now(), s.opt.Lanes.Address); err != nil {
			return said{}, fmt.Errorf("mint event: %w", err)
		}
		reply, stop := s.opt.Replies.Expect(one.ID)
		defer stop()
		events[i], heard[i] = &one, reply
	}
	if err := s.appendEvents(ctx, events); err != nil {
		return said{}, err
	}
	x.writeID = events[0].ID
	ctx, cancel := context.WithTimeout(ctx, prefer.duration(defaultWait))
	defer cancel()
	for i, event := range events {
		if !s.awaitEvent(ctx, event, heard[i]) {
			return said{event: events[0]}, nil
		}
	}
	return said{event: events[0], done: true}, nil
}

// appendEvents makes events durable within the time of an append, and notes
// when each was accepted.
func (s *Server) appendEvents(ctx context.Context, events []*contact.Event) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	ctx, span := s.traces.append(ctx, len(events))
	span.carryEvents(events)
	receipts, errs := s.opt.Optouts.Events.AppendEvents(ctx, events)
	span.end(receipts, errs...)
	for i, event := range events {
		if errs[i] != nil {
			return queueError(errs[i])
		}
		event.AcceptedAt = receipts[i].AcceptedAt
	}
	return nil
}

// awaitEvent waits until every contact that has the address of an event was
// looked at: by the worker's reply, or, since that may be lost, by the store.
// False: the time is up.
func (s *Server) awaitEvent(ctx context.Context, e *contact.Event, reply <-chan contact.Outcome) bool {
	timer := time.NewTimer(lastPoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-reply:
			return true
		case <-timer.C:
		}
		if r, err := s.opt.Optouts.Suppressions.EventByID(ctx, e.Account, e.ID); err == nil && r.Done {
			return true
		}
		timer.Reset(lastPoll)
	}
}

// queuedEvent answers an event that is durable and was not waited for.
func (x *exchange) queuedEvent(q said) error {
	body, err := dialect.EncodeQueuedEvent(q.event.ID, q.event.AcceptedAt)
	if err != nil {
		return err
	}
	x.reply(http.StatusAccepted, body)
	return nil
}

// listQuarantine lists what providers of the account sent and nobody could
// read.
func (s *Server) listQuarantine(ctx context.Context, x *exchange) error {
	q := x.readQuery("limit", "cursor")
	ask := contact.QuarantineQuery{Account: x.account(), Limit: q.limit(), After: q.text("cursor")}
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	page, err := s.opt.Optouts.Suppressions.Quarantined(ctx, ask)
	if err != nil {
		return storeError(err)
	}
	body, err := dialect.EncodeQuarantine(&page, ask.Limit)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

// reviewID reads the id of the path.
func (x *exchange) reviewID() (uuid.UUID, error) { return x.pathID("review") }
