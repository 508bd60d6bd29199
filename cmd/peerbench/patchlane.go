package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// singleClients send one PATCH after another, batchClients one batch.
	singleClients = 64
	batchClients  = 4
	// batchRows is how many rows a batch has.
	batchRows = 500
	// poll is how often the ledger is counted at the end.
	poll = 50 * time.Millisecond
)

// product is the program that is measured, built from the tree beside this
// module.
type product struct {
	binary string
}

// buildProduct compiles it as it is shipped.
func buildProduct(ctx context.Context, dir string) (*product, error) {
	p := &product{binary: filepath.Join(dir, "patchlane")}
	tree, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "patchlane").Output()
	if err != nil {
		return nil, fmt.Errorf("find patchlane's tree: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.binary, "./cmd/patchlane") //nolint:gosec // a path of ours
	cmd.Dir = string(bytes.TrimSpace(tree))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build patchlane: %w: %s", err, bytes.TrimSpace(out))
	}
	return p, nil
}

// stack is an API and a worker of their own on the servers of the bench.
type stack struct {
	product *product
	env     []string
	url     string
	key     string
	client  *http.Client
	stops   []func() error
}

// start makes a key and starts both processes.
func (p *product) start(ctx context.Context, e environment) (*stack, error) {
	s := &stack{
		product: p,
		env:     append(os.Environ(), "DATABASE_URL="+e.database, "REDIS_URL="+e.redis, "PATCHLANE_LOG_LEVEL=warn"),
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: singleClients, MaxConnsPerHost: singleClients}},
	}
	if err := s.makeKey(ctx); err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	s.url = "http://" + ports[0]
	err = errors.Join(
		s.run(ctx, "api", "--listen", ports[0], "--ops-listen", ports[1]),
		s.run(ctx, "worker", "--ops-listen", ports[2]))
	if err == nil {
		err = errors.Join(s.ready(ctx, s.url), s.ready(ctx, "http://"+ports[2]))
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// makeKey lets the command line make a key for the account of the contacts.
func (s *stack) makeKey(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.product.binary, "admin", "key", "create", "--json", //nolint:gosec // a path of ours
		"--account", account.String(), "--scope", "contacts:read,contacts:write")
	cmd.Env = s.env
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	s.key = made.Key
	return nil
}

// run starts one process of the product; stop ends it.
func (s *stack) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, s.product.binary, args...) //nolint:gosec // a path of ours
	cmd.Env = s.env
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	s.stops = append(s.stops, func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return fmt.Errorf("stop %s: %w", args[0], err)
		}
		return cmd.Wait()
	})
	return nil
}

// stop ends the processes, the last one first.
func (s *stack) stop() error {
	s.client.CloseIdleConnections()
	var errs []error
	for _, end := range slices.Backward(s.stops) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// ready waits until a process says that it is.
func (s *stack) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		if status, _, err := s.send(ctx, http.MethodGet, url+"/readyz", nil); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w", url, ctx.Err())
		case <-ticker.C:
		}
	}
}

// send makes one request and returns its status and body.
func (s *stack) send(ctx context.Context, method, url string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("send request: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}

// patch is the body of one write.
type patch struct {
	Title   string `json:"job_title"`
	Company string `json:"company_name"`
	Note    string `json:"notes_append,omitempty"`
}

// single sends a PATCH a write.
func (p *product) single(ctx context.Context, e environment, w workload) error {
	return p.measure(ctx, e, w, func(s *stack) error {
		return w.produce(singleClients, func(u update) error {
			body, err := json.Marshal(patch{u.Title, u.Company, u.Note})
			if err != nil {
				return fmt.Errorf("encode patch: %w", err)
			}
			status, answer, err := s.send(ctx, http.MethodPatch, s.url+"/v1/contacts/"+u.Contact.String(), body)
			if err != nil {
				return err
			}
			if status != http.StatusAccepted {
				return fmt.Errorf("write %d was answered %d: %s", u.N, status, answer)
			}
			return nil
		})
	})
}

// row is one write of a batch.
type row struct {
	ID    string `json:"id"`
	Patch patch  `json:"patch"`
}

// batch sends 500 writes a request.
func (p *product) batch(ctx context.Context, e environment, w workload) error {
	return p.measure(ctx, e, w, func(s *stack) error {
		errs := make(chan error, batchClients)
		for client := range batchClients {
			go func() { errs <- s.sendShare(ctx, w, client) }()
		}
		var all error
		for range batchClients {
			all = errors.Join(all, <-errs)
		}
		return all
	})
}

// sendShare sends the updates of one client, in order.
func (s *stack) sendShare(ctx context.Context, w workload, client int) error {
	rows := make([]row, 0, batchRows)
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		err := s.sendBatch(ctx, rows)
		rows = rows[:0]
		return err
	}
	for u := range w.share(client, batchClients) {
		rows = append(rows, row{ID: u.Contact.String(), Patch: patch{u.Title, u.Company, u.Note}})
		if len(rows) == batchRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (s *stack) sendBatch(ctx context.Context, rows []row) error {
	body, err := json.Marshal(map[string]any{"writes": rows})
	if err != nil {
		return fmt.Errorf("encode batch: %w", err)
	}
	status, answer, err := s.send(ctx, http.MethodPost, s.url+"/v1/contacts/batch", body)
	if err != nil {
		return err
	}
	var report struct {
		Data struct {
			Accepted int `json:"accepted"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &report); err != nil {
		return fmt.Errorf("read the answer %d to a batch: %w", status, err)
	}
	if report.Data.Accepted != len(rows) {
		return fmt.Errorf("of %d rows %d were accepted: %s", len(rows), report.Data.Accepted, answer[:min(len(answer), 500)])
	}
	return nil
}

// measure runs load on a started stack and waits until the ledger holds every
// write.
func (p *product) measure(ctx context.Context, e environment, w workload, load func(*stack) error) error {
	s, err := p.start(ctx, e)
	if err != nil {
		return err
	}
	e.begin()
	err = load(s)
	if err == nil {
		err = awaitLedger(ctx, e.database, w.Writes)
	}
	e.end()
	return errors.Join(err, s.stop())
}

// awaitLedger waits until so many writes are committed.
func awaitLedger(ctx context.Context, at string, writes int) error {
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		var count int
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM writes`).Scan(&count); err != nil {
			return fmt.Errorf("count writes: %w", err)
		}
		if count >= writes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %d writes, %d are there: %w", writes, count, ctx.Err())
		case <-ticker.C:
		}
	}
}

// freePorts returns addresses of the loopback that nobody listens on.
func freePorts(ctx context.Context, n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		defer func() { _ = l.Close() }()
		addresses[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return addresses, nil
}
