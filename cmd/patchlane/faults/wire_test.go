package faults

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// wire is a TCP proxy between two parties that can be damaged: it loses the
// reply to one request, slows everything down, holds one or both directions as
// a half-open connection does, or refuses everything as a partition does. What
// is held is passed on when the wire is healed, as TCP would.
type wire struct {
	target   string
	listener net.Listener
	tasks    sync.WaitGroup

	mu    sync.Mutex
	links map[*link]bool
	// changed is closed, and replaced, whenever the state below changes.
	changed chan struct{}
	closed  bool
	refused bool
	held    [2]bool
	delay   time.Duration
	// mark is what a request holds whose reply is to be lost; left is how many
	// replies that still concerns, lost how many were.
	mark       []byte
	left, lost int
}

// The directions of a link.
const (
	requests = iota
	replies
)

// newWire listens on a free port until the test ends.
func newWire(tb testing.TB, target string) *wire {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w := &wire{target: target, listener: l, links: map[*link]bool{}, changed: make(chan struct{})}
	w.tasks.Go(w.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		w.change(func() { w.closed = true })
		w.cut()
		w.tasks.Wait()
	})
	return w
}

func (w *wire) addr() string { return w.listener.Addr().String() }

// through returns a URL with the wire in the place of its target.
func (w *wire) through(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Host = w.addr()
	return u.String()
}

func (w *wire) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.changed)
	w.changed = make(chan struct{})
}

// loseReplies loses the replies to the next requests that hold a mark, with
// their connections: the work is done, and the client cannot know.
func (w *wire) loseReplies(mark string, times int) {
	w.change(func() { w.mark, w.left = []byte(mark), times })
}

// replies returns how many replies were lost so far.
func (w *wire) lostReplies() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// slow holds each piece of data up for a time.
func (w *wire) slow(d time.Duration) { w.change(func() { w.delay = d }) }

// hold stops one direction, or both, without closing anything: new connections
// are taken and stay silent, too.
func (w *wire) hold(directions ...int) {
	w.change(func() {
		for _, d := range directions {
			w.held[d] = true
		}
	})
}

// partition cuts every connection and refuses new ones.
func (w *wire) partition() {
	w.change(func() { w.refused = true })
	w.cut()
}

// heal ends whatever was done to the wire.
func (w *wire) heal() {
	w.change(func() { w.refused, w.held, w.delay, w.left = false, [2]bool{}, 0, 0 })
}

// cut closes every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.links {
		l.close()
	}
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		refused := w.refused
		w.mu.Unlock()
		if refused {
			_ = client.Close()
			continue
		}
		server, err := net.DialTimeout("tcp", w.target, time.Second)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{wire: w, client: client, server: server, done: make(chan struct{})}
		if !w.keep(l) {
			return
		}
		w.tasks.Go(func() { l.pump(requests, client, server) })
		w.tasks.Go(func() { l.pump(replies, server, client) })
	}
}

// keep notes a link; false when the wire is closed.
func (w *wire) keep(l *link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.refused {
		l.close()
		return !w.closed
	}
	w.links[l] = true
	return true
}

// link is one connection over a wire.
type link struct {
	wire           *wire
	client, server net.Conn
	once           sync.Once
	done           chan struct{}
	mu             sync.Mutex
	lose           bool
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// pump copies one direction until the link ends.
func (l *link) pump(direction int, from, to net.Conn) {
	defer func() {
		l.close()
		l.wire.mu.Lock()
		defer l.wire.mu.Unlock()
		delete(l.wire.links, l)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.admits(direction, buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// admits waits until a piece of data may pass; false: the link has ended.
func (l *link) admits(direction int, data []byte) bool {
	w := l.wire
	for waited := false; ; {
		w.mu.Lock()
		held, delay, changed := w.held[direction], w.delay, w.changed
		w.mu.Unlock()
		switch {
		case held:
			select {
			case <-l.done:
				return false
			case <-changed:
			}
		case delay > 0 && !waited:
			waited = true
			select {
			case <-l.done:
				return false
			case <-time.After(delay):
			}
		default:
			return l.marks(direction, data)
		}
	}
}

// marks remembers that the reply to this request is to be lost, and loses it.
func (l *link) marks(direction int, data []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case direction == replies && l.lose:
		w.lost++
		return false
	case direction == requests && w.left > 0 && bytes.Contains(data, w.mark):
		w.left--
		l.lose = true
	}
	return true
}
