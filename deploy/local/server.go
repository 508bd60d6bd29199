package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// patience is how long a server may take until it answers; replaying a
	// long log after a crash counts in.
	patience = 2 * time.Minute
	// tries is how often a start is repeated because somebody else took the
	// port between its choice and its use.
	tries = 5
	// tailSize is how much of a server's log an error shows.
	tailSize = 2 << 10
)

// server is what Postgres and Redis have in common: a program that is started
// in its home on a port, waited for, stopped, and started again there.
type server struct {
	name   string
	home   *home
	logger *slog.Logger
	// command builds the program for a port.
	command func(port int) command
	// ready asks the server whether it serves.
	ready func(ctx context.Context, port int) error
	// polite are the signals of an orderly stop.
	polite []syscall.Signal

	mu      sync.Mutex
	port    int
	proc    *process
	stopped bool
}

// start starts the server on a free port and waits until it serves.
func (s *server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range tries {
		port, err := freePort(ctx)
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		err = s.launch(ctx, port)
		if err == nil {
			s.port = port
			s.logger.InfoContext(ctx, "local server started", "server", s.name,
				"port", port, "pid", s.proc.cmd.Process.Pid, "dir", s.home.dir)
			return nil
		}
		if !errors.Is(err, errPortTaken) {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
	}
	return fmt.Errorf("start %s: %w", s.name, errPortTaken)
}

// restart starts a server that died, or was killed, again: on the same port
// and the same data.
func (s *server) restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("restart %s: it was stopped", s.name)
	}
	if s.proc != nil {
		s.proc.stop(s.polite...)
		s.proc = nil
	}
	if err := s.launch(ctx, s.port); err != nil {
		return fmt.Errorf("restart %s: %w", s.name, err)
	}
	return nil
}

// stop ends the server and removes what is not to be kept. A second call does
// nothing.
func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	if s.proc != nil {
		s.proc.stop(s.polite...)
	}
	if err := s.home.close(); err != nil {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	return nil
}

// pid returns the server's process id; 0 when there is none.
func (s *server) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// done returns a channel that is closed when the present process has ended.
func (s *server) done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return s.proc.done
}

// errPortTaken says that the port of a start was not free any more.
var errPortTaken = errors.New("port was taken")

// launch starts the program and waits for it. On an error nothing is left
// running.
func (s *server) launch(ctx context.Context, port int) error {
	lock, err := s.home.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	log, err := os.OpenFile(s.home.path("log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	c := s.command(port)
	c.log, c.lock = log, lock
	p, err := c.start(ctx)
	if err != nil {
		return err
	}
	if err := s.await(ctx, p, port); err != nil {
		p.stop()
		return logged(err, log, begin)
	}
	s.proc = p
	return nil
}

// await polls until the server serves.
func (s *server) await(ctx context.Context, p *process, port int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-tick.C:
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		last = s.ready(try, port)
		cancel()
		if last == nil {
			return nil
		}
	}
}

// logged adds the tail of the log since begin, and recognises a taken port in
// it.
func logged(err error, log *os.File, begin int64) error {
	end, seekErr := log.Seek(0, io.SeekEnd)
	if seekErr != nil {
		return err
	}
	begin = max(begin, end-tailSize)
	tail := make([]byte, end-begin)
	if _, readErr := log.ReadAt(tail, begin); readErr != nil {
		return err
	}
	if bytes.Contains(tail, []byte("Address already in use")) {
		err = errors.Join(errPortTaken, err)
	}
	return fmt.Errorf("%w; its log ends with:\n%s", err, bytes.TrimSpace(tail))
}

// freePort returns a port of the loopback that nobody listens on just now.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("find free port: %s is no TCP address", l.Addr())
	}
	return addr.Port, nil
}

// loopback returns the address of a port.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
