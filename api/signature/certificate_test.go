package signature

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// mustURL reads a URL.
func mustURL(tb testing.TB, raw string) *url.URL {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestCertDirStaysInside(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, sampleCert)); err != nil {
		t.Fatal(err)
	}
	u := mustURL(t, "https://sns.us-east-1.amazonaws.com/"+sampleCert)
	if raw, err := CertDir(dir)(t.Context(), u); err == nil {
		t.Errorf("followed a link: %q", raw)
	}
	if _, err := CertDir(outside)(t.Context(), u); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(outside, sampleCert), make([]byte, maxCertificate+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CertDir(outside)(t.Context(), u); err == nil {
		t.Error("read a large file")
	}
}

func TestHTTPSCertificates(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write([]byte("pem"))
		case "/large":
			_, _ = w.Write(make([]byte, maxCertificate+1))
		case "/away":
			http.Redirect(w, r, "/good", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = NewSNSClient().CheckRedirect
	fetch := HTTPSCertificates(client)
	for path, ok := range map[string]bool{"/good": true, "/large": false, "/away": false, "/none": false} {
		if _, err := fetch(t.Context(), mustURL(t, server.URL+path)); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := HTTPSCertificates(NewSNSClient())(t.Context(), mustURL(t, server.URL+"/good")); err == nil {
		t.Error("dialled the loopback")
	}
}

func TestFirstOf(t *testing.T) {
	t.Parallel()
	missing := func(context.Context, *url.URL) ([]byte, error) { return nil, fs.ErrNotExist }
	found := func(context.Context, *url.URL) ([]byte, error) { return []byte("x"), nil }
	broken := func(context.Context, *url.URL) ([]byte, error) { return nil, errors.New("broken") }
	if raw, err := FirstOf(missing, found)(t.Context(), nil); err != nil || string(raw) != "x" {
		t.Errorf("%q, %v", raw, err)
	}
	if _, err := FirstOf(broken, found)(t.Context(), nil); err == nil {
		t.Error("passed over a broken source")
	}
	if _, err := FirstOf()(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing to ask: %v", err)
	}
}

func TestCertificatesAreKept(t *testing.T) {
	t.Parallel()
	good := readSample(t, "keys/sns_test_cert.pem")
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var broken atomic.Bool
		c := newCertificates(func(ctx context.Context, _ *url.URL) ([]byte, error) {
			asked.Add(1)
			<-time.After(time.Second)
			if broken.Load() {
				return []byte("no pem"), ctx.Err()
			}
			return good, ctx.Err()
		})
		u := mustURL(t, "https://sns.us-east-1.amazonaws.com/"+sampleCert)
		get := func() error { _, err := c.get(t.Context(), u); return err }
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := get(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("fetched %d times at once", n)
		}
		broken.Store(true)
		if err := get(); err != nil {
			t.Errorf("kept: %v", err)
		}
		<-time.After(keepCertificate)
		if err := get(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("outdated: %v", err)
		}
		broken.Store(false)
		if err := get(); err == nil {
			t.Error("a failure is not kept")
		}
		<-time.After(keepFailure)
		if err := get(); err != nil || asked.Load() != 3 {
			t.Errorf("%v after %d fetches", err, asked.Load())
		}
	})
}

func TestCertificatesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCertificates(func(context.Context, *url.URL) ([]byte, error) { return nil, fs.ErrNotExist })
	good, err := parseCertificate(readSample(t, "keys/sns_test_cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c.keep("good", fetched{cert: good, until: time.Now().Add(keepCertificate)})
	for i := range 3 * maxCertificates {
		u := mustURL(t, "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-"+strconv.Itoa(i)+".pem")
		if _, err := c.get(t.Context(), u); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if _, ok := c.lookup("good"); !ok || len(c.held) > maxCertificates {
		t.Errorf("%d held, the good one %v", len(c.held), ok)
	}
}

func TestCertificateOfSomebodyElse(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	other := pemOf(server.Certificate().Raw)
	for name, raw := range map[string][]byte{"other": other, "none": nil, "text": []byte("x")} {
		if _, err := parseCertificate(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.Redirect(w, r, "/good", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = NewSNSClient().CheckRedirect
	if err := confirmAt(t.Context(), client, server.URL+"/good"); err != nil {
		t.Error(err)
	}
	if err := confirmAt(t.Context(), client, server.URL+"/away"); err == nil {
		t.Error("followed a redirect")
	}
	if err := Confirm(t.Context(), client, server.URL+"/good"); err == nil {
		t.Error("asked a host that is not of SNS")
	}
}
