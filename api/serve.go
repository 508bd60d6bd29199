package api

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// ServeHTTP answers one request: who, whether, what, and one line of log.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := e.server
	rt, allowed := e.methods[r.Method]
	if !allowed {
		rt = e.any()
	}
	limitBodyTime(w, r)
	x := newExchange(w, r, rt)
	x.bodies = s.bodies
	defer x.letGo()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	ctx := s.traces.request(r.Context(), x)
	defer s.conclude(ctx, x)
	if err := e.answer(ctx, x, allowed); err != nil {
		x.fail(s, s.payLast(ctx, x, err))
		return
	}
	s.settle(ctx, x)
}

// any returns some route of the path: enough to check a credential with and to
// name the path in logs; nil: the path is none of ours.
func (e *endpoint) any() *route {
	for _, r := range e.methods {
		return r
	}
	return nil
}

// answer makes the checks of the package comment in their order.
func (e *endpoint) answer(ctx context.Context, x *exchange, allowed bool) error {
	if x.route == nil {
		return cmp.Or(x.missingID(), notFound("path"))
	}
	open := len(x.route.scopes) == 0
	if !open {
		if err := e.server.authenticate(ctx, x); err != nil {
			return err
		}
	}
	if !allowed {
		if err := x.missingID(); err != nil {
			return err
		}
		x.w.Header().Set("Allow", e.allow)
		return &contact.Error{
			Code: contact.CodeMethodNotAllowed, Message: "The path answers " + e.allow + ".",
		}
	}
	if !open {
		if err := authorize(x.key, x.route.scopes); err != nil {
			return err
		}
		if err := e.server.payFirst(ctx, x); err != nil {
			return err
		}
	}
	return x.route.handle(ctx, x)
}

// conclude turns a panic into a clean 500, then logs and counts the request. A
// panic after the answer was begun cuts the connection, so that nobody takes
// half an answer for a whole one.
func (s *Server) conclude(ctx context.Context, x *exchange) {
	cause := recover()
	if cause != nil {
		s.opt.Logger.ErrorContext(ctx, "request panicked",
			"request_id", x.id, "route", x.label(), "panic_type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		x.outcome = "panic"
		if x.status == 0 {
			x.fail(s, &contact.Error{Code: contact.CodeInternal})
		} else {
			defer panic(http.ErrAbortHandler)
		}
	}
	took := time.Since(x.started)
	s.metrics.request(x, took)
	s.log(ctx, x, took)
	s.traces.answered(x)
}

// log writes the one wide line of a request. It holds no body, no credential,
// and the pattern of the path in place of the path.
func (s *Server) log(ctx context.Context, x *exchange, took time.Duration) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", knownMethod(x.Method)),
		slog.String("route", x.label()),
		slog.Int("status", x.status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("request_id", x.id),
	)
	if x.key != nil {
		attrs = append(attrs,
			slog.String("account_id", x.key.Account.String()),
			slog.String("key_id", x.key.ID.String()),
			slog.String("dialect", x.key.Dialect))
	}
	if x.writeID != uuid.Nil {
		attrs = append(attrs, slog.String("write_id", x.writeID.String()))
	}
	if x.outcome != "" {
		attrs = append(attrs, slog.String("outcome", x.outcome))
	}
	if trace := x.traceParent(); trace != "" {
		attrs = append(attrs, slog.String("trace_id", trace[3:35]))
	}
	attrs = append(attrs, x.notes...)
	level := slog.LevelInfo
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelError
		if x.failure != nil {
			attrs = append(attrs, slog.Any("err", x.failure))
		}
		if x.status != http.StatusInternalServerError {
			level = slog.LevelWarn
		}
	}
	s.opt.Logger.LogAttrs(ctx, level, "request answered", attrs...)
}

// label names the route, or says that the path is none.
func (x *exchange) label() string {
	if x.route == nil {
		return "unknown"
	}
	return x.route.label()
}

// knownMethod keeps made-up methods out of logs and labels.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	default:
		return "other"
	}
}

// exact refuses paths that ServeMux would answer with a redirect to a cleaned
// one: a client that builds such a path is wrong and shall be told so.
func exact(next http.Handler, refuse http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		if p == "" || p[0] != '/' || strings.Contains(p, "//") || (p != "/" && path.Clean(p) != strings.TrimSuffix(p, "/")) {
			refuse.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
