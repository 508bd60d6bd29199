package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPublic lists addresses at both sides of each border.
func TestPublic(t *testing.T) {
	t.Parallel()
	for public, addresses := range map[bool]string{
		true: "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 169.253.255.255 172.15.255.255 172.32.0.0 " +
			"192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1111 2a00:1450:4001::1 ::ffff:8.8.8.8",
		false: "0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 " +
			"192.0.0.1 192.0.2.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 " +
			":: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 " +
			"2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1",
	} {
		for text := range strings.FieldsSeq(addresses) {
			if got := Public(netip.MustParseAddr(text)); got != public {
				t.Errorf("%s: public is %v, want %v", text, got, public)
			}
		}
	}
}

// TestNothingInsideIsAsked asks for a server of this machine by its address and
// by a name: it never hears of it.
func TestNothingInsideIsAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	site := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(site.Close)
	client := NewClient(Config{Timeout: 5 * time.Second})
	t.Cleanup(client.CloseIdleConnections)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	for _, address := range []string{
		site.URL, "https://localhost:" + port, "https://[::ffff:127.0.0.1]:" + port, "https://0.0.0.0:" + port, "https://2130706433:" + port,
	} {
		res, err := client.Get(address)
		if err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: answered", address)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("asked %d times", asked.Load())
	}
	plain := "http" + strings.TrimPrefix(site.URL, "https")
	if _, err := client.Get(plain); !errors.Is(err, errScheme) { //nolint:bodyclose // There is no answer.
		t.Errorf("http: %v", err)
	}
}

// TestNoRedirect hands the redirect itself to the caller.
func TestNoRedirect(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	site := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(site.Close)
	client := NewClient(Config{Timeout: 5 * time.Second, Private: true})
	t.Cleanup(client.CloseIdleConnections)
	res, err := client.Get(site.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusFound || elsewhere.Load() > 0 {
		t.Errorf("status %d, the other site was asked %d times", res.StatusCode, elsewhere.Load())
	}
}

// TestSlowSite gives up on an answer that trickles.
func TestSlowSite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		client := NewClient(Config{Timeout: 5 * time.Second, Private: true})
		transport, _ := client.Transport.(*http.Transport)
		transport.DialContext = (&once{near}).dial
		go func() {
			_, _ = far.Read(make([]byte, 4096))
			_, _ = fmt.Fprint(far, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			for {
				if _, err := far.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second) //nolint:forbidigo // The pace of the site, on the clock of the bubble.
			}
		}()
		start := time.Now()
		res, err := client.Get("http://issuer.example/")
		if err != nil {
			t.Fatal(err)
		}
		var b [1 << 20]byte
		for err == nil {
			_, err = res.Body.Read(b[:])
		}
		_ = res.Body.Close()
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("gave up after %s: %v", took, err)
		}
		_ = far.Close()
		<-time.After(2 * time.Second) // the site's next try
	})
}

// once dials a connection that is there already.
type once struct{ conn net.Conn }

func (o *once) dial(context.Context, string, string) (net.Conn, error) { return o.conn, nil }
