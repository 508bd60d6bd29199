package api

import (
	"context"
	_ "embed" // the specification is part of the binary
	"encoding/json"
	"net/http"
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

// readyz says whether requests should be sent here, and why not.
func (s *Server) readyz(ctx context.Context, x *exchange) error {
	now := s.opt.Ready(ctx)
	body, err := json.Marshal(now)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !now.Ready {
		status = http.StatusServiceUnavailable
	}
	x.reply(status, append(body, '\n'))
	return nil
}
