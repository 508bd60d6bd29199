package lanetest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server. It passes everything on until it
// is told to lose a reply: then it lets the next request that holds a mark reach
// the server, and cuts the connection instead of passing the answer on. Frozen, it
// keeps every connection open and passes nothing on, as a partition does.
type Proxy struct {
	target   string
	listener net.Listener
	tasks    sync.WaitGroup

	mu     sync.Mutex
	mark   []byte
	cuts   int
	conns  map[net.Conn]bool
	closed bool
	frozen chan struct{} // closed while the proxy passes on
}

// NewProxy starts a proxy to an address. It ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	p := &Proxy{target: target, listener: l, conns: map[net.Conn]bool{}, frozen: make(chan struct{})}
	close(p.frozen)
	// The proxy outlives the test's context: clients are closed through it.
	ctx := context.WithoutCancel(tb.Context())
	p.tasks.Go(func() { p.serve(ctx) })
	tb.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Thaw()
		p.CutAll()
		p.tasks.Wait()
	})
	return p
}

// Addr returns host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// LoseReplies makes the answers to the next requests that hold the mark be lost,
// with their connections.
func (p *Proxy) LoseReplies(mark string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark, p.cuts = []byte(mark), times
}

// Freeze passes nothing on, in either direction, until Thaw. New connections are
// accepted and get no answer either.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.frozen:
		p.frozen = make(chan struct{})
	default:
	}
}

// Thaw ends a Freeze: what was held back goes on its way.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.frozen:
	default:
		close(p.frozen)
	}
}

// thawed waits until something may be passed on.
func (p *Proxy) thawed() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	<-frozen
}

// Left returns how many replies are still to be lost.
func (p *Proxy) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// CutAll closes every connection.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) serve(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		server, err := d.DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		l := &link{proxy: p, client: client, server: server}
		p.tasks.Go(l.requests)
		p.tasks.Go(l.replies)
	}
}

// keep notes two connections for CutAll; false when the proxy is closed.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.closed
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// marked tells whether a request's answer is to be lost.
func (p *Proxy) marked(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 || !bytes.Contains(request, p.mark) {
		return false
	}
	p.cuts--
	return true
}

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	mu   sync.Mutex
	lose bool
}

func (l *link) requests() {
	defer l.proxy.forget(l.client, l.server)
	buf := make([]byte, 1<<20)
	for {
		n, err := l.client.Read(buf)
		l.proxy.thawed()
		if n > 0 {
			if l.proxy.marked(buf[:n]) {
				l.mu.Lock()
				l.lose = true
				l.mu.Unlock()
			}
			if _, err := l.server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *link) replies() {
	defer l.proxy.forget(l.client, l.server)
	buf := make([]byte, 1<<20)
	for {
		n, err := l.server.Read(buf)
		l.proxy.thawed()
		l.mu.Lock()
		lose := l.lose
		l.mu.Unlock()
		if lose {
			return // the server has answered, so the request has run
		}
		if n > 0 {
			if _, err := l.client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
