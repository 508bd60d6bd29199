package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
	"patchlane/tasks/exemplar"
	"patchlane/tasks/failpoint"
)

const (
	// hookTimeout bounds making the events of a request durable: providers hang
	// up after ten seconds, and what they did not hear they send again.
	hookTimeout = 5 * time.Second
	// hookPause is the Retry-After of an overload that names none.
	hookPause = 2 * time.Second
	// hookBatch is how many events are appended at once. A request may hold
	// thousands, and the queue of a process is bounded.
	hookBatch = 1000
	// confirmTimeout bounds the request to SNS that begins a subscription.
	confirmTimeout = 8 * time.Second
)

// webhook answers what a provider posts to an endpoint. The answer is the
// provider's own: which status loses an event for good differs for each.
func (s *Server) webhook(ctx context.Context, x *exchange) error {
	id, err := x.pathID("webhook endpoint")
	if err != nil {
		return err
	}
	e, err := s.optouts.directory.find(ctx, id)
	if err != nil {
		return err
	}
	h := &hook{
		server: s, x: x, record: &e, provider: signature.Provider(e.Provider), metrics: s.optouts.metrics,
		endpoint: signedEndpoint(&e, s.endpointURL(x, id)),
	}
	x.notes = append(x.notes, slog.String("endpoint_id", id.String()), slog.String("provider", e.Provider))
	x.hookAnswer(h.receive(ctx))
	exemplar.Observe(h.metrics.seconds.WithLabelValues(e.Provider), time.Since(x.started).Seconds(), x.traceParent())
	return nil
}

// hookAnswer sends a provider's answer.
func (x *exchange) hookAnswer(a signature.Answer) {
	maps.Copy(x.w.Header(), a.Header)
	body := a.Body
	if len(body) == 0 {
		body = nil
	}
	x.send(a.Status, a.Header.Get("Content-Type"), body)
}

// hook is one request of a provider.
type hook struct {
	server   *Server
	x        *exchange
	record   *contact.Endpoint
	provider signature.Provider
	endpoint signature.Endpoint
	metrics  *hookMetrics
}

// receive makes the steps of package signature in their order. A success leaves
// only after every event is durable; nothing of a request that was refused is
// kept.
func (h *hook) receive(ctx context.Context) signature.Answer {
	leave, ok := h.server.optouts.intakes.enter(ctx, h.record.ID, h.size())
	if !ok {
		return h.overloaded(&contact.Error{Code: contact.CodeOverloaded, Message: "The endpoint has too many requests under way."})
	}
	defer leave()
	req, err := h.read()
	if err != nil {
		return h.unless(err)
	}
	verified, err := h.server.opt.Optouts.Verifier.Verify(ctx, h.endpoint, req)
	if err != nil {
		return h.unless(err)
	}
	failpoint.Hit("webhook.verified")
	if !h.server.optouts.paces.allow(h.record.ID, h.server.now()) {
		return h.overloaded(&contact.Error{Code: contact.CodeOverloaded, Message: "The endpoint has too many requests a second."})
	}
	if verified.Challenge {
		return h.accepted(hookChallenge)
	}
	if err := h.consume(ctx, verified.OneTime); err != nil {
		return h.unless(err)
	}
	failpoint.Hit("webhook.consumed")
	decoded := signature.Decode(h.endpoint, req)
	events, err := h.events(&decoded)
	if err != nil {
		return h.unless(err)
	}
	if err := h.server.keepEvents(ctx, events); err != nil {
		return h.unless(err)
	}
	failpoint.Hit("webhook.appended")
	if err := h.subscription(ctx, &decoded); err != nil {
		return h.unless(err)
	}
	h.count(&decoded)
	return h.accepted(hookAccepted)
}

// size is what the body may take of memory.
func (h *hook) size() int64 {
	if n := h.x.ContentLength; n >= 0 && n <= signature.MaxBody {
		return n
	}
	return signature.MaxBody
}

// read takes the request in as it came: signatures cover its bytes.
func (h *hook) read() (signature.Request, error) {
	req := signature.Request{
		Method: h.x.Method, Header: h.x.Header, RawQuery: h.x.URL.RawQuery, ReceivedAt: h.server.now(),
	}
	if h.x.Body == nil || h.x.Body == http.NoBody || h.x.ContentLength == 0 {
		h.x.bodyRead = true
		return req, nil
	}
	if h.x.ContentLength > signature.MaxBody {
		h.x.w.Header().Set("Connection", "close")
		return req, &signature.RefusalError{Reason: signature.RefusedTooLarge}
	}
	body, err := h.x.drain(signature.MaxBody)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return req, &signature.RefusalError{Reason: signature.RefusedTooLarge}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return req, bodyError(err, signature.MaxBody)
	}
	req.Body = body
	return req, nil
}

// consume takes a token that does not cover the body, once. The same body is a
// repetition, after an answer that was lost or a crash of ours, and goes on.
func (h *hook) consume(ctx context.Context, t *signature.OneTime) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	// All endpoints of an account share the scope, since they may share a secret.
	scope := h.record.Account.String() + "/" + h.record.Provider
	fits, err := h.server.opt.Optouts.Tokens.ConsumeToken(ctx, scope, t.Token, t.BodyHash, t.TTL)
	switch {
	case err != nil:
		return queueError(err)
	case !fits:
		h.server.opt.Logger.WarnContext(ctx, "signed token came again with another body",
			"endpoint_id", h.record.ID, "account_id", h.record.Account, "provider", h.record.Provider, "request_id", h.x.id)
		return signature.Forged()
	default:
		return nil
	}
}

// subscription does what SNS asks for beside its events.
func (h *hook) subscription(ctx context.Context, d *signature.Decoded) error {
	if d.FeedCut {
		h.metrics.feedsCut.Inc()
		h.server.opt.Logger.ErrorContext(ctx, "SNS SUBSCRIPTION WAS ENDED: no more opt-outs come from this topic",
			"endpoint_id", h.record.ID, "account_id", h.record.Account, "topic_arn", h.record.TopicARN)
	}
	if d.ConfirmURL == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if err := h.server.opt.Optouts.Confirm(ctx, d.ConfirmURL); err != nil {
		return &contact.Error{Code: contact.CodeOverloaded, Message: "SNS did not take the confirmation.", Err: err}
	}
	h.server.opt.Logger.InfoContext(ctx, "sns subscription confirmed", "endpoint_id", h.record.ID, "account_id", h.record.Account)
	return nil
}

// keepEvents makes events durable: all of them, or the caller says overload and
// the provider sends all of them again. Those that were kept count once.
func (s *Server) keepEvents(ctx context.Context, events []*contact.Event) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	for chunk := range slices.Chunk(events, hookBatch) {
		ctx, span := s.traces.append(ctx, len(chunk))
		span.carryEvents(chunk)
		receipts, errs := s.opt.Optouts.Events.AppendEvents(ctx, chunk)
		span.end(receipts, errs...)
		if err := errors.Join(errs...); err != nil {
			return queueError(err)
		}
	}
	return nil
}

// unless answers a request that is not accepted: refused, or to be repeated.
func (h *hook) unless(err error) signature.Answer {
	reason := signature.ReasonOf(err)
	if reason == "" {
		return h.overloaded(err)
	}
	h.metrics.refusals.WithLabelValues(string(h.provider), string(reason)).Inc()
	h.metrics.requests.WithLabelValues(string(h.provider), hookRefused).Inc()
	h.x.outcome = hookRefused
	h.x.notes = append(h.x.notes, slog.String("reason", string(reason)))
	return signature.Refused(h.provider, err)
}

// overloaded makes the provider come back.
func (h *hook) overloaded(err error) signature.Answer {
	h.metrics.requests.WithLabelValues(string(h.provider), hookOverloaded).Inc()
	h.x.outcome, h.x.failure = hookOverloaded, err
	pause := hookPause
	if e, ok := errors.AsType[*contact.Error](err); ok && e.RetryAfter > 0 {
		pause = e.RetryAfter
	}
	return signature.Overloaded(h.provider, pause)
}

// accepted is a success.
func (h *hook) accepted(outcome string) signature.Answer {
	h.metrics.requests.WithLabelValues(string(h.provider), outcome).Inc()
	h.x.outcome = outcome
	return signature.Accepted(h.provider)
}
