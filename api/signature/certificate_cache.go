package signature

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxCertificates bounds the cache: whoever knows a topic can name any
	// number of certificates.
	maxCertificates = 64
	// maxFetches bounds the fetches under way, for the same reason.
	maxFetches = 8
	// keepCertificate and keepFailure are how long an answer is believed.
	keepCertificate, keepFailure = 24 * time.Hour, 10 * time.Second
)

// errBusy says that enough certificates are being fetched.
var errBusy = errors.New("too many certificates are being fetched")

// certificates remembers what was fetched, failures too, and has one fetch a
// URL under way at a time.
type certificates struct {
	fetch CertificateFetcher
	now   func() time.Time
	calls singleflight.Group
	slots chan struct{}

	mu   sync.Mutex
	held map[string]fetched
}

// fetched is a certificate, or why there is none, until it is asked for again.
type fetched struct {
	cert  *x509.Certificate
	err   error
	until time.Time
}

// newCertificates returns an empty cache.
func newCertificates(fetch CertificateFetcher) *certificates {
	return &certificates{
		fetch: fetch, now: time.Now,
		slots: make(chan struct{}, maxFetches), held: make(map[string]fetched),
	}
}

// get returns the certificate at a URL of SNS. The fetch outlives the request
// that asked first, as others wait for it; it is bounded on its own.
func (c *certificates) get(ctx context.Context, u *url.URL) (*x509.Certificate, error) {
	if c.fetch == nil {
		return nil, fmt.Errorf("fetch certificate: no source: %w", ErrUnavailable)
	}
	key := u.String()
	got, ok := c.lookup(key)
	if !ok {
		call := c.calls.DoChan(key, func() (any, error) {
			f := c.load(context.WithoutCancel(ctx), u)
			c.keep(key, f)
			return f, nil
		})
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for certificate: %w: %w", ErrUnavailable, ctx.Err())
		case result := <-call:
			got, _ = result.Val.(fetched)
		}
	}
	if got.err != nil || got.cert == nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, got.err)
	}
	return got.cert, nil
}

// load fetches and reads a certificate. Where too many are being fetched, the
// answer is not remembered.
func (c *certificates) load(ctx context.Context, u *url.URL) fetched {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return fetched{err: errBusy}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*snsTimeout)
	defer cancel()
	raw, err := c.fetch(ctx, u)
	if err != nil {
		return fetched{err: err, until: c.now().Add(keepFailure)}
	}
	cert, err := parseCertificate(raw)
	if err != nil {
		return fetched{err: err, until: c.now().Add(keepFailure)}
	}
	return fetched{cert: cert, until: c.now().Add(keepCertificate)}
}

// lookup returns what is known and not yet outdated.
func (c *certificates) lookup(key string) (fetched, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.held[key]
	return f, ok && c.now().Before(f.until)
}

// keep remembers an answer. Where there is no room, the answer that would go
// first goes now; failures, which live shortest, make room for certificates.
func (c *certificates) keep(key string, f fetched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.held[key]; !there && len(c.held) >= maxCertificates {
		first := ""
		for k, v := range c.held {
			if first == "" || v.until.Before(c.held[first].until) {
				first = k
			}
		}
		delete(c.held, first)
	}
	c.held[key] = f
}
