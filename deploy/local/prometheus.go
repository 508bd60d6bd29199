package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// PrometheusOptions are the wishes for a Prometheus of one's own.
type PrometheusOptions struct {
	// Config is its configuration file. What Files hold stands beside it, by
	// their names.
	Config []byte
	Files  map[string][]byte
	// Logger may be nil.
	Logger *slog.Logger
}

// Prometheus is a running server. It ends with this process at the latest, and
// its data with it.
type Prometheus struct{ server *server }

// errNoPrometheus says what to do where no Prometheus was found.
var errNoPrometheus = errors.New("no Prometheus on this machine: run `deploy/deps.sh test`, " +
	"or set PATCHLANE_PROMETHEUS to the path of prometheus")

// StartPrometheus starts a server and waits until it answers. Ctx bounds the
// start, not the life, of the server.
func StartPrometheus(ctx context.Context, o PrometheusOptions) (*Prometheus, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	path := os.Getenv("PATCHLANE_PROMETHEUS")
	if path == "" {
		found, err := exec.LookPath("prometheus")
		if err != nil {
			return nil, errNoPrometheus
		}
		path = found
	}
	h, err := openHome("", "prometheus")
	if err != nil {
		return nil, err
	}
	p, err := preparePrometheus(h, path, o)
	if err == nil {
		err = p.server.start(ctx)
	}
	if err != nil {
		_ = h.close()
		return nil, err
	}
	return p, nil
}

// preparePrometheus writes the configuration and describes the server.
func preparePrometheus(h *home, path string, o PrometheusOptions) (*Prometheus, error) {
	data := h.path("data")
	as := choose(data, "prometheus")
	config := h.path("prometheus.yml")
	err := errors.Join(as.own(h.dir), os.MkdirAll(data, 0o700), as.own(data), as.reach(data), place(as, config, o.Config))
	for name, content := range o.Files {
		err = errors.Join(err, place(as, h.path(filepath.Base(name)), content))
	}
	if err != nil {
		return nil, fmt.Errorf("prepare prometheus: %w", err)
	}
	return &Prometheus{&server{
		name: "prometheus", home: h, logger: o.Logger,
		command: func(port int) command {
			return command{
				path: path, as: as, env: os.Environ(), orphaned: syscall.SIGKILL,
				args: []string{
					"--config.file=" + config, "--storage.tsdb.path=" + data,
					"--web.listen-address=" + loopback(port), "--log.level=warn",
				},
			}
		},
		ready:  serves,
		polite: []syscall.Signal{syscall.SIGTERM},
	}}, nil
}

// place writes a file for a server.
func place(as identity, path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return as.own(path)
}

// serves asks the server whether it has read its data.
func serves(ctx context.Context, port int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(port)+"/-/ready", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	http.DefaultClient.CloseIdleConnections()
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("prometheus answers %s", res.Status)
	}
	return nil
}

// URL returns where the server is.
func (p *Prometheus) URL() string { return "http://" + loopback(p.server.port) }

// Stop ends the server and removes its data. A second call does nothing.
func (p *Prometheus) Stop() error { return p.server.stop() }
