package api

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// exchange is one request and its answer. It belongs to one goroutine.
type exchange struct {
	*http.Request
	w http.ResponseWriter

	// id is the request id, echoed in every answer.
	id string
	// route is the row of the table that answers; its pattern is what is
	// logged and counted, never the path.
	route *route
	// key is the caller, once the credential was found good.
	key *contact.Key
	// dialect shapes the answer; definitions and credits are the caller's.
	dialect     dialect.Dialect
	definitions dialect.Definitions
	credits     int64
	// definer looks definitions up, for the accept path as for the dialect.
	definer *definer

	// toll is what the request has paid.
	toll toll

	started time.Time
	// bodyRead: the whole body is here.
	bodyRead bool
	// bodies is the memory of all bodies; held is what this one has of it.
	bodies *semaphore.Weighted
	held   int64
	// status is 0 until an answer was begun.
	status int
	// writeID and outcome go into the line of the request.
	writeID uuid.UUID
	outcome string
	// failure is the error that was answered, for the log.
	failure error
	// span is that of the request, and trace its traceparent; nil: it has none.
	span  trace.Span
	trace string
	// notes are further members of the request's line. They MUST NOT hold what a
	// client or a provider sent.
	notes []slog.Attr
}

// newExchange takes a request in and sets the headers of every answer.
func newExchange(w http.ResponseWriter, r *http.Request, rt *route) *exchange {
	x := &exchange{
		Request: r, w: w, route: rt, started: time.Now(),
		credits: contact.Unmetered,
		id:      r.Header.Get("X-Request-Id"), dialect: dialect.ForUnknown(r.URL.Path, credential(r.Header)),
	}
	if !validRequestID(x.id) {
		x.id = uuid.NewString()
	}
	h := w.Header()
	h.Set("X-Request-Id", x.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	return x
}

// account is the caller's tenant.
func (x *exchange) account() uuid.UUID { return x.key.Account }

// ref names a contact of the caller.
func (x *exchange) ref(id uuid.UUID) contact.Ref { return contact.Ref{Account: x.key.Account, ID: id} }

// frame is what the answer depends on beside what it shows.
func (s *Server) frame(x *exchange) dialect.Frame {
	return dialect.Frame{
		Query: x.URL.Query(), Definitions: x.definitions, Credits: x.credits, HrefBase: s.opt.HrefBase,
	}
}

// pathID reads an id of ours out of the path. What is no UUID cannot be there.
func (x *exchange) pathID(what string) (uuid.UUID, error) {
	id, err := dialect.ParseID(x.PathValue("id"))
	if err != nil || id == uuid.Nil {
		return uuid.Nil, notFound(what)
	}
	return id, nil
}

// reply sends a whole answer of JSON, or none.
func (x *exchange) reply(status int, body []byte) {
	x.send(status, "application/json", body)
}

// send sends a whole answer. net/http leaves the body out for HEAD.
func (x *exchange) send(status int, mediaType string, body []byte) {
	h := x.w.Header()
	if body != nil {
		h.Set("Content-Type", mediaType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.skipBody()
	x.status = status
	x.w.WriteHeader(status)
	// An error here means that the client is gone; the write is durable all
	// the same, and the client asks for it by its key.
	if len(body) > 0 {
		_, _ = x.w.Write(body) //nolint:gosec // JSON of our own encoder, under nosniff
	}
}

// fail answers an error.
func (x *exchange) fail(s *Server, err error) {
	x.failure = err
	if x.outcome == "" {
		x.outcome = string(contact.CodeOf(err))
	}
	p, pause := s.problem(err, x.id)
	h := x.w.Header()
	if pause > 0 {
		h.Set("Retry-After", retryAfter(pause))
	}
	if p.Code == contact.CodeUnauthorized {
		h.Set("WWW-Authenticate", challenge(x.Header))
	}
	body, mediaType := x.dialect.Problem(p)
	x.send(p.Status, mediaType, body)
}

// challenge is that of RFC 6750: without a credential it names no error.
func challenge(h http.Header) string {
	if credential(h) == "" {
		return `Bearer realm="patchlane"`
	}
	return `Bearer realm="patchlane", error="invalid_token"`
}
