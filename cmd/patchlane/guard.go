package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"patchlane/api/conn"
)

// guardConfig bounds what clients may take of the public side.
type guardConfig struct {
	MaxConnections       int `name:"max-connections" env:"PATCHLANE_MAX_CONNECTIONS" group:"api" default:"10000" help:"Most connections of the public listener; at the bound the one that was idle longest makes room, with none idle a new one is answered 503. 0: no bound."`
	MaxClientConnections int `name:"max-client-connections" env:"PATCHLANE_MAX_CLIENT_CONNECTIONS" group:"api" default:"0" help:"Most connections from one address (one /64 network of IPv6). 0: no bound, which is right behind a proxy, whose address all of them have."`
	WebhookRate          int `name:"webhook-rate" env:"PATCHLANE_WEBHOOK_RATE" group:"api" default:"1000" help:"Most requests a second that one webhook endpoint takes in one process; more are answered as the provider is told to come back. 0: no bound."`
}

// checkGuard refuses bounds below nothing.
func (c *guardConfig) checkGuard() error {
	var problems []error
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"max-connections", c.MaxConnections}, {"max-client-connections", c.MaxClientConnections}, {"webhook-rate", c.WebhookRate},
	} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("--%s: %d is below 0", n.flag, n.value))
		}
	}
	return errors.Join(problems...)
}

// limits are those of the public listener.
func (c *guardConfig) limits() conn.Limits {
	return conn.Limits{Total: c.MaxConnections, Client: c.MaxClientConnections}
}

// opsConfig guards the listener of the operators.
type opsConfig struct {
	OpsToken string `name:"ops-token" env:"PATCHLANE_OPS_TOKEN" group:"process" placeholder:"SECRET" help:"Token of at least 16 bytes that metrics, profiles and the console ask for, as a bearer token or as the password of a browser. Without one they answer on a loopback address alone; health is open always."`
}

// leastToken is the length of a token that cannot be guessed.
const leastToken = 16

// checkOps refuses a token that could be guessed.
func (c *opsConfig) checkOps() error {
	if c.OpsToken != "" && len(c.OpsToken) < leastToken {
		return fmt.Errorf("--ops-token: shorter than %d bytes", leastToken)
	}
	return nil
}

// opsGuard lets operators alone to what the ops listener shows. Health is for
// probes, which have no token.
type opsGuard struct {
	next http.Handler
	// token is the hash of the token; nil: there is none.
	token []byte
	// loopback: only this machine reaches the listener.
	loopback bool
}

// guardOps puts a guard before the handler of the ops listener.
func (c *opsConfig) guardOps(next http.Handler, l net.Listener) *opsGuard {
	g := &opsGuard{next: next}
	if c.OpsToken != "" {
		sum := sha256.Sum256([]byte(c.OpsToken))
		g.token = sum[:]
	}
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		g.loopback = addr.IP.IsLoopback()
	}
	return g
}

// ServeHTTP serves whoever may see it.
func (g *opsGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	switch {
	case r.URL.Path == "/livez" || r.URL.Path == "/readyz":
		g.next.ServeHTTP(w, r)
	case g.token != nil && (r.URL.Path == "/ops" || strings.HasPrefix(r.URL.Path, "/ops/")):
		// The console has a form for the token, and sessions.
		g.next.ServeHTTP(w, r)
	case g.token != nil:
		if !g.knows(r) {
			h.Set("WWW-Authenticate", `Bearer realm="patchlane ops"`)
			h.Add("WWW-Authenticate", `Basic realm="patchlane ops", charset="UTF-8"`)
			http.Error(w, "The token of --ops-token is needed.", http.StatusUnauthorized)
			return
		}
		g.next.ServeHTTP(w, r)
	case !g.loopback:
		http.Error(w, "This listener is not on the loopback: start patchlane with --ops-token.", http.StatusForbidden)
	case !onLoopback(r.Host):
		// A page of the web that had its name resolve to this machine would be
		// let in by the browser.
		http.Error(w, "Ask for this machine by its loopback address, or start patchlane with --ops-token.", http.StatusForbidden)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// knows tells whether the request carries the token.
func (g *opsGuard) knows(r *http.Request) bool {
	given := ""
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	} else if scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimSpace(token)
	}
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], g.token) == 1
}

// onLoopback tells whether a Host names this machine and can name nothing else.
func onLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	ip, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || (err == nil && ip.IsLoopback())
}
