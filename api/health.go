package api

import (
	"context"
	_ "embed" // the specification is part of the binary
	"encoding/json"
	"net/http"

	"patchlane/tasks/contact"
)

//go:embed openapi.yaml
var specification []byte

// openapi serves the specification of this surface.
func (s *Server) openapi(_ context.Context, x *exchange) error {
	x.send(http.StatusOK, "application/yaml", specification)
	return nil
}

// livez says that the process runs.
func (s *Server) livez(_ context.Context, x *exchange) error {
	x.reply(http.StatusOK, []byte(`{"alive":true}`+"\n"))
	return nil
}

// readyz says whether requests should be sent here, and why not: all of them, or
// with ?for=reads or ?for=writes those alone.
func (s *Server) readyz(ctx context.Context, x *exchange) error {
	now := s.opt.Ready(ctx)
	ready, known := now.For(x.URL.Query().Get("for"))
	if !known {
		return invalid([]contact.FieldError{{
			Field: "for", Code: contact.ProblemUnknown, Message: "It is reads, writes, or left away.",
		}})
	}
	body, err := json.Marshal(now)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	x.reply(status, append(body, '\n'))
	return nil
}
