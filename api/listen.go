package api

import (
	"log/slog"
	"net/http"
	"time"
)

// The bounds on a connection. A waited request may take thirty seconds, so the
// time to write is longer; bodies have a deadline of their own (body.go).
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 120 * time.Second
	writeTimeout   = 60 * time.Second
	maxHeaderBytes = 32 << 10
)

// NewHTTPServer wraps a handler in an http.Server whose bounds keep slow and
// oversized clients from holding connections and memory. The caller listens
// before it serves, and stops with Shutdown.
func NewHTTPServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      writeTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
