package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/http"
	"net/url"
	"strings"
)

// live returns the secrets that are not empty. An empty key verifies whatever
// was signed with the empty key, so it MUST never reach a comparison.
func live(secrets []string) []string {
	out := make([]string, 0, len(secrets))
	for _, s := range secrets {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// same compares two strings in constant time; their lengths are not told
// either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// mac returns the HMAC of the parts, one after the other.
func mac(newHash func() hash.Hash, key string, parts ...[]byte) []byte {
	h := hmac.New(newHash, []byte(key))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// anyMAC tells whether one of the given signatures is the base64 HMAC of one
// of the texts under one of the keys. All of them are tried, whatever matches.
func anyMAC(newHash func() hash.Hash, keys, texts, given []string) bool {
	found := false
	for _, key := range keys {
		for _, text := range texts {
			want := base64.StdEncoding.EncodeToString(mac(newHash, key, []byte(text)))
			for _, sig := range given {
				found = same(want, sig) || found
			}
		}
	}
	return found
}

// credentials returns user and password of a request as "user:password".
func credentials(h http.Header) (string, bool) {
	r := http.Request{Header: h}
	user, password, ok := r.BasicAuth()
	return user + ":" + password, ok
}

// admits tells whether the credentials of the request are one of the allowed
// "user:password" pairs. A pair without a password is none.
func admits(h http.Header, allowed []string) bool {
	got, ok := credentials(h)
	found := false
	for _, pair := range allowed {
		if user, password, _ := strings.Cut(pair, ":"); user == "" || password == "" {
			continue
		}
		found = same(got, pair) || found
	}
	return ok && found
}

// passwords returns the "user:password" pairs of an endpoint.
func (e Endpoint) passwords() []string {
	switch e.Provider {
	case SES, Postmark, SparkPost:
		return live(append(append([]string(nil), e.Secrets...), e.BasicAuth...))
	default:
		return live(e.BasicAuth)
	}
}

// verifyBasic is the verifier of providers that sign nothing: the password of
// the URL is the whole authentication.
func verifyBasic(ep Endpoint, req Request) (Verified, error) {
	allowed := ep.passwords()
	if len(allowed) == 0 {
		return Verified{}, refuse(RefusedNoSecret)
	}
	if admits(req.Header, allowed) {
		return Verified{}, nil
	}
	if req.Header.Get("Authorization") == "" {
		return Verified{}, &RefusalError{Reason: RefusedCredentials, challenge: true}
	}
	return Verified{}, refuse(RefusedBadSignature)
}

// signedURL is the URL that the provider called: the configured one and the
// query as it came.
func signedURL(ep Endpoint, req Request) string {
	if req.RawQuery == "" {
		return ep.URL
	}
	return ep.URL + "?" + req.RawQuery
}

// withUserinfo returns the URL as it reads with the credentials that the
// request carries, for providers that sign them along. What the request
// claims is safe to try: a signature has to fit it.
func withUserinfo(raw string, h http.Header) (string, bool) {
	pair, ok := credentials(h)
	if !ok {
		return "", false
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return "", false
	}
	user, password, _ := strings.Cut(pair, ":")
	return scheme + "://" + url.UserPassword(user, password).String() + "@" + rest, true
}

// signatures splits a header that may hold several comma-separated values.
func signatures(values ...string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
