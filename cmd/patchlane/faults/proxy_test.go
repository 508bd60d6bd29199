package faults

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a process and a server. Once armed it lets the first
// request that holds the marker through, waits for the server's reply, and cuts
// the connection instead of passing the reply on: the work is done, and the
// client cannot know.
type proxy struct {
	listener net.Listener
	target   string
	marker   []byte
	armed    atomic.Bool
	cuts     atomic.Int64
	wg       sync.WaitGroup
}

// newProxy listens on a free port until the test ends.
func newProxy(t *testing.T, target, marker string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, marker: []byte(marker)}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		var cut atomic.Bool
		p.wg.Go(func() { p.requests(client, server, &cut) })
		p.wg.Go(func() { p.replies(client, server, &cut) })
	}
}

// requests copies to the server and looks for the marker.
func (p *proxy) requests(client, server net.Conn, cut *atomic.Bool) {
	defer func() { _ = server.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if bytes.Contains(buf[:n], p.marker) && p.armed.CompareAndSwap(true, false) {
			cut.Store(true)
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// replies copies to the client, until a reply is to be cut.
func (p *proxy) replies(client, server net.Conn, cut *atomic.Bool) {
	defer func() { _ = client.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 && cut.Load() {
			p.cuts.Add(1)
			return
		}
		if _, werr := io.Copy(client, bytes.NewReader(buf[:n])); err != nil || werr != nil {
			return
		}
	}
}
