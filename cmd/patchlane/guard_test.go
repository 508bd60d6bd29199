package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// at is a listener at an address that nobody listens on.
type at struct {
	net.Listener
	addr string
}

func (a at) Addr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", a.addr)
	if err != nil {
		panic(err)
	}
	return addr
}

// TestOpsGuard holds who sees metrics and profiles: with a token whoever has it,
// without one whoever is on this machine, and nobody through a browser that was
// told another name for this machine.
func TestOpsGuard(t *testing.T) {
	t.Parallel()
	const token = "sixteen-bytes-and-more"
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, c := range []struct {
		listen, token, path, host, header string
		want                              int
	}{
		{"127.0.0.1:9090", "", "/metrics", "127.0.0.1:9090", "", 200},
		{"[::1]:9090", "", "/debug/pprof/", "[::1]:9090", "", 200},
		{"127.0.0.1:9090", "", "/metrics", "localhost:9090", "", 200},
		{"127.0.0.1:9090", "", "/metrics", "LOCALHOST", "", 200},
		{"127.0.0.1:9090", "", "/metrics", "attacker.example:9090", "", 403},
		{"127.0.0.1:9090", "", "/metrics", "127.0.0.1.attacker.example", "", 403},
		{"127.0.0.1:9090", "", "/metrics", "", "", 403},
		{"127.0.0.1:9090", "", "/livez", "attacker.example", "", 200},
		{"0.0.0.0:9090", "", "/metrics", "127.0.0.1:9090", "", 403},
		{"[::]:9090", "", "/debug/pprof/heap", "localhost", "", 403},
		{"10.0.0.7:9090", "", "/metrics", "10.0.0.7", "", 403},
		{"0.0.0.0:9090", "", "/readyz", "10.0.0.7", "", 200},
		{"0.0.0.0:9090", "", "/livez", "10.0.0.7", "", 200},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "", 401},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "Bearer wrong", 401},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "Bearer ", 401},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "Basic !", 401},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "Bearer " + token, 200},
		{"0.0.0.0:9090", token, "/metrics", "10.0.0.7", "bearer  " + token, 200},
		{"0.0.0.0:9090", token, "/debug/pprof/", "10.0.0.7", "Basic b3BzOnNpeHRlZW4tYnl0ZXMtYW5kLW1vcmU=", 200},
		{"127.0.0.1:9090", token, "/metrics", "127.0.0.1", "", 401},
	} {
		l := at{addr: c.listen}
		r := httptest.NewRequest(http.MethodGet, c.path, http.NoBody)
		r.Host = c.host
		if c.header != "" {
			r.Header.Set("Authorization", c.header)
		}
		w := httptest.NewRecorder()
		(&opsConfig{OpsToken: c.token}).guardOps(inner, l).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%+v: %d", c, w.Code)
		}
		if strings.Contains(w.Body.String()+w.Header().Get("WWW-Authenticate"), token) {
			t.Errorf("%+v: the answer holds the token", c)
		}
	}
}

// TestOpsListener starts real processes: without a token, and on every interface.
func TestOpsListener(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	const token = "the-token-of-this-test"
	w := s.start("worker", "--ops-token", token).ready()
	if status, _ := s.get(w.Ops + "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("metrics without the token: %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Ops+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("metrics with the token: %d", res.StatusCode)
	}
	if strings.Contains(w.log.String(), token) {
		t.Error("the log holds the token")
	}
	open := s.start("worker", "--ops-listen", ":0").ready()
	for path, want := range map[string]int{"/metrics": 403, "/debug/pprof/": 403, "/livez": 200} {
		if status, _ := s.get(open.Ops + path); status != want {
			t.Errorf("%s on every interface: %d, want %d", path, status, want)
		}
	}
	// The public listener has neither, whatever the token.
	a := s.start("api").ready()
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/ops"} {
		if status, _ := s.get(a.API + path); status != http.StatusNotFound {
			t.Errorf("%s on the public listener: %d", path, status)
		}
	}
}

func TestGuardFlags(t *testing.T) {
	t.Parallel()
	for flag, good := range map[string]bool{
		"--max-connections=-1": false, "--max-client-connections=-1": false, "--webhook-rate=-1": false, "--ops-token=short": false,
		"--max-connections=0": true, "--webhook-rate=0": true, "--ops-token=sixteen-bytes-it-is": true, "--ops-token=": true,
	} {
		if err := parsed(t, "api", "--database-url=postgres://u:p@h/d", "--redis-url=redis://h:6379/0", flag).Validate(); (err == nil) != good {
			t.Errorf("%s: %v", flag, err)
		} else if err != nil && strings.Contains(err.Error(), "short:") {
			t.Errorf("%s: the message repeats the token: %v", flag, err)
		}
	}
}
