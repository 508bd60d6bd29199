package conn

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limits bound the connections of a listener.
type Limits struct {
	// Total is the most connections; 0: no bound.
	Total int
	// Client is the most connections from one address (one /64 network of
	// IPv6); 0: no bound, as behind a proxy, whose address all of them have.
	Client int
}

// busyAnswer is told to a connection for which there is no place. Nothing of
// its request was read, so whatever it was, it was not done.
const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n" +
	"Content-Type: application/problem+json\r\nContent-Length: 183\r\n\r\n" +
	`{"type":"about:blank","title":"Overloaded","status":503,"code":"overloaded",` +
	`"detail":"There are too many connections.","fix":"Use fewer connections, and keep them open.","errors":[]}` + "\n"

// busyTime bounds the sending of busyAnswer, which fits into any socket's
// buffer.
const busyTime = 100 * time.Millisecond

// Listener accepts within limits, and follows the requests of what it accepts.
// Its Track MUST be the ConnState of the server that it serves.
type Listener struct {
	net.Listener
	limits  Limits
	metrics *Metrics

	mu      sync.Mutex
	open    int
	clients map[string]int
	// idle holds the connections between two requests, the longest idle first.
	idle   *list.List
	places map[*guarded]*list.Element
}

// Guard guards a listener.
func Guard(l net.Listener, limits Limits, m *Metrics) *Listener {
	return &Listener{
		Listener: l, limits: limits, metrics: m,
		clients: make(map[string]int), idle: list.New(), places: make(map[*guarded]*list.Element),
	}
}

// Accept returns the next connection for which there is a place.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &guarded{Conn: accepted, listener: l, client: clientOf(accepted.RemoteAddr())}
		evicted, ok := l.enter(c)
		if evicted != nil {
			l.metrics.evicted.Inc()
			_ = evicted.Close()
		}
		if ok {
			return c, nil
		}
		l.metrics.turnedAway.Inc()
		turnAway(accepted)
	}
}

// enter takes a place: a free one, or that of the connection that was idle
// longest. False: every connection is busy, or the client has its share.
func (l *Listener) enter(c *guarded) (evicted *guarded, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.Client > 0 && l.clients[c.client] >= l.limits.Client {
		return nil, false
	}
	if l.limits.Total > 0 && l.open >= l.limits.Total {
		oldest := l.idle.Front()
		if oldest == nil {
			return nil, false
		}
		evicted, _ = l.idle.Remove(oldest).(*guarded)
		delete(l.places, evicted)
	}
	l.open++
	l.clients[c.client]++
	l.metrics.open.Inc()
	return evicted, true
}

// leave gives a place back, once a connection.
func (l *Listener) leave(c *guarded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy(c)
	l.open--
	l.metrics.open.Dec()
	if l.clients[c.client]--; l.clients[c.client] == 0 {
		delete(l.clients, c.client)
	}
}

// Track learns from the server which connections are idle.
func (l *Listener) Track(nc net.Conn, state http.ConnState) {
	c, ours := nc.(*guarded)
	if !ours {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if state == http.StateIdle {
		l.places[c] = l.idle.PushBack(c)
	} else {
		l.busy(c)
	}
}

// busy takes a connection from the idle ones.
func (l *Listener) busy(c *guarded) {
	if place := l.places[c]; place != nil {
		l.idle.Remove(place)
		delete(l.places, c)
	}
}

// turnAway says why, without waiting for the client.
func turnAway(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(busyTime))
	_, _ = c.Write([]byte(busyAnswer))
	_ = c.Close()
}

// clientOf names the client of a connection.
func clientOf(a net.Addr) string {
	peer, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := peer.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64)
	return network.String()
}
