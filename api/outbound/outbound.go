// Package outbound makes the clients for what others tell this process to
// fetch: certificates and subscriptions of SNS, keys of issuers of tokens. Such
// a client asks over https, follows no redirect, uses no proxy, is bounded in
// time, and connects to no address but a public one: what counts is the address
// that is dialled, after the name was resolved, so that a name that resolves to
// something inside, or to something else at the second look, gains nothing.
package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Config says what a client is for.
type Config struct {
	// Timeout bounds a whole request, the reading of its body included.
	Timeout time.Duration
	// Private also allows http, proxies of the environment, and addresses that
	// are not public: for issuers inside one's own network, and for tests.
	Private bool
}

// maxHeader bounds the header of an answer.
const maxHeader = 64 << 10

// errScheme is a request without TLS.
var errScheme = errors.New("outbound request: only https is allowed")

// NewClient returns a client. The caller bounds what it reads of a body.
func NewClient(c Config) *http.Client {
	dialer := &net.Dialer{Timeout: c.Timeout}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: c.Timeout,
		ResponseHeaderTimeout: c.Timeout, MaxResponseHeaderBytes: maxHeader,
		DisableKeepAlives: true, // What is fetched is kept for a long time.
	}
	client := &http.Client{
		Timeout: c.Timeout,
		// A redirect would let the site choose whom else we ask.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.Private {
		transport.Proxy = http.ProxyFromEnvironment
		client.Transport = transport
		return client
	}
	dialer.Control = onlyPublic
	client.Transport = secure{transport}
	return client
}

// secure refuses requests without TLS.
type secure struct{ *http.Transport }

// RoundTrip sends a request of https.
func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errScheme
	}
	return s.Transport.RoundTrip(r)
}

// onlyPublic is asked with the address that is about to be dialled.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !Public(peer.Addr()) {
		return fmt.Errorf("dial %s: not a public address", address)
	}
	return nil
}

// Public tells whether an address is one of the internet. It is false for every
// range that the registries of special addresses (RFC 6890) do not call globally
// reachable, and for those that carry another address inside.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, special := range special() {
		if special.Contains(a) {
			return false
		}
	}
	// Of IPv6 only 2000::/3 is given out to the internet.
	return a.Is4() || netip.MustParsePrefix("2000::/3").Contains(a)
}

// special lists what netip does not know: of IPv4, and within 2000::/3.
func special() [15]netip.Prefix {
	return [...]netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // this network
		netip.MustParsePrefix("100.64.0.0/10"),   // shared by carriers
		netip.MustParsePrefix("192.0.0.0/24"),    // protocols
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation
		netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"), // documentation
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved
		netip.MustParsePrefix("2001::/23"),       // protocols, Teredo
		netip.MustParsePrefix("2001:db8::/32"),   // documentation
		netip.MustParsePrefix("2002::/16"),       // 6to4: an IPv4 address inside
		netip.MustParsePrefix("3fff::/20"),       // documentation
		netip.MustParsePrefix("2620:4f:8000::/48"),
		netip.MustParsePrefix("2001:20::/28"), // identifiers
	}
}
