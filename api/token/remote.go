package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"golang.org/x/sync/singleflight"

	"patchlane/api/outbound"
)

const (
	// fetchEvery is how often the keys of an issuer are fetched, fetchRetry how
	// soon again after a failure.
	fetchEvery = 10 * time.Minute
	fetchRetry = 15 * time.Second
	// fetchRest is how long an unknown key id fetches nothing after the last
	// fetch, so that made-up tokens do not make us a flood for the issuer.
	fetchRest = 30 * time.Second
	// fetchTimeout bounds one fetch, body included; askTimeout how long a
	// request waits for it.
	fetchTimeout = 5 * time.Second
	askTimeout   = 2 * time.Second
	// The bounds of a set of keys.
	maxJWKS       = 256 << 10
	maxRemoteKeys = 100
	// minRSA is the least length of an RSA modulus, in bits.
	minRSA = 2048
)

// remoteKey is a key of another issuer.
type remoteKey struct {
	public any
	// alg is the only algorithm the key is for; empty: those of its kind.
	alg string
}

// remote knows the keys of another issuer. What was fetched once stays in force
// until the issuer says otherwise, so that an outage of the issuer is none of
// ours.
type remote struct {
	url    string
	client *http.Client
	logger *slog.Logger
	now    func() time.Time
	known  atomic.Pointer[map[string]remoteKey]
	flight singleflight.Group

	mu      sync.Mutex
	fetched time.Time // the last fetch, whatever came of it
	failed  error     // what came of it
}

func newRemote(url string, private bool, logger *slog.Logger, now func() time.Time) *remote {
	return &remote{
		url: url, logger: logger, now: now,
		client: outbound.NewClient(outbound.Config{Timeout: fetchTimeout, Private: private}),
	}
}

// run fetches the keys now and from time to time until ctx ends.
func (r *remote) run(ctx context.Context) {
	for {
		pause := fetchEvery
		if err := r.fetch(ctx); err != nil {
			pause = fetchRetry
			if ctx.Err() == nil {
				r.logger.WarnContext(ctx, "keys of an issuer not fetched", "url", r.url, "err", err)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// key returns the key of an id if it is for an algorithm. An id that is not known
// is asked for, unless somebody did so a moment ago.
func (r *remote) key(ctx context.Context, id, alg string) (any, error) {
	k, found := r.find(id)
	if !found {
		err := r.ask(ctx)
		if k, found = r.find(id); !found && err != nil {
			return nil, unavailable("The keys of the access token's issuer cannot be fetched at the moment.", err)
		}
	}
	if !found || (k.alg != "" && k.alg != alg) {
		return nil, errKid
	}
	return k.public, nil
}

func (r *remote) find(id string) (remoteKey, bool) {
	known := r.known.Load()
	if known == nil {
		return remoteKey{}, false
	}
	k, found := (*known)[id]
	return k, found
}

// ask fetches the keys for a request, or says what came of the last fetch.
func (r *remote) ask(ctx context.Context) error {
	r.mu.Lock()
	rests, failed := r.now().Sub(r.fetched) < fetchRest, r.failed
	r.mu.Unlock()
	if rests {
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	// The fetch goes on when this request has ended: others wait for it.
	done := r.flight.DoChan("", func() (any, error) { return nil, r.fetch(context.WithoutCancel(ctx)) })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch asks the issuer for its keys. A failure, or an answer without a usable
// key, leaves those that are known.
func (r *remote) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	known, err := r.get(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched, r.failed = r.now(), err
	if err == nil {
		r.known.Store(&known)
	}
	return err
}

func (r *remote) get(ctx context.Context) (map[string]remoteKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask issuer for keys: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask issuer for keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask issuer for keys: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("read keys of issuer: %w", err)
	}
	if len(body) > maxJWKS {
		return nil, fmt.Errorf("read keys of issuer: more than %d bytes", maxJWKS)
	}
	return parseJWKS(body)
}

// parseJWKS reads a set of keys. A key that is not usable costs no other.
func parseJWKS(body []byte) (map[string]remoteKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("read keys of issuer: %w", err)
	}
	if len(set.Keys) > maxRemoteKeys {
		return nil, fmt.Errorf("read keys of issuer: more than %d keys", maxRemoteKeys)
	}
	known := make(map[string]remoteKey, len(set.Keys))
	for _, raw := range set.Keys {
		var m jwkset.JWKMarshal
		if err := json.Unmarshal(raw, &m); err != nil || m.KID == "" || (m.USE != "" && m.USE != jwkset.UseSig) {
			continue
		}
		// Certificates are not looked at: the address of the set is what is trusted.
		m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
		// Without Private, secrets and private halves are not even read.
		k, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err == nil && usable(k.Key()) {
			known[m.KID] = remoteKey{public: k.Key(), alg: m.ALG.String()}
		}
	}
	if len(known) == 0 {
		return nil, errors.New("read keys of issuer: none is usable")
	}
	return known, nil
}

// usable tells whether a key is public and strong enough.
func usable(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	default:
		return false
	}
}
