package signature

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"time"

	"patchlane/api/outbound"
)

// CertificateFetcher returns the PEM text of the certificate at a URL. It is
// only called with URLs that certificateURL accepted, so that the last part of
// the path is a plain file name. A certificate that is not there is an error
// that wraps fs.ErrNotExist.
type CertificateFetcher func(ctx context.Context, u *url.URL) ([]byte, error)

const (
	// maxCertificate bounds a certificate, in bytes of PEM.
	maxCertificate = 64 << 10
	// snsTimeout bounds one request to SNS.
	snsTimeout = 5 * time.Second
)

var (
	snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?$`)
	snsCert = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]+\.pem$`)
	snsName = regexp.MustCompile(`^sns(\.[a-z0-9-]{3,})?\.amazonaws\.com(\.cn)?$`)
)

// certificateURL reads the URL of a signing certificate; only the place where
// SNS keeps its own is accepted, as whoever names the certificate signs.
func certificateURL(raw string) (*url.URL, bool) {
	u, ok := snsURL(raw)
	if !ok || u.RawQuery != "" || u.ForceQuery || !snsCert.MatchString(u.EscapedPath()) {
		return nil, false
	}
	return u, true
}

// snsURL reads a URL that MUST be at a host of SNS.
func snsURL(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" ||
		u.Fragment != "" || !snsHost.MatchString(u.Host) {
		return nil, false
	}
	return u, true
}

// CertDir looks certificates up in a directory, by file name: for machines
// without internet. Links that lead out of the directory are not followed.
func CertDir(dir string) CertificateFetcher {
	return func(_ context.Context, u *url.URL) (raw []byte, err error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, fmt.Errorf("open certificate directory: %w", err)
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		f, err := root.Open(path.Base(u.Path))
		if err != nil {
			return nil, fmt.Errorf("open certificate: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return readCertificate(f)
	}
}

// FirstOf asks one fetcher after the other, until one has the certificate.
func FirstOf(fetchers ...CertificateFetcher) CertificateFetcher {
	return func(ctx context.Context, u *url.URL) ([]byte, error) {
		err := fmt.Errorf("find certificate: %w", fs.ErrNotExist)
		for _, fetch := range fetchers {
			var raw []byte
			if raw, err = fetch(ctx, u); err == nil {
				return raw, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		return nil, err
	}
}

// HTTPSCertificates fetches certificates from SNS.
func HTTPSCertificates(client *http.Client) CertificateFetcher {
	return func(ctx context.Context, u *url.URL) (raw []byte, err error) {
		ctx, cancel := context.WithTimeout(ctx, snsTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return nil, fmt.Errorf("build certificate request: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("fetch certificate: %w", err)
		}
		defer func() { err = errors.Join(err, resp.Body.Close()) }()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("fetch certificate: status %d", resp.StatusCode)
		}
		return readCertificate(resp.Body)
	}
}

// readCertificate reads a PEM text of bounded size.
func readCertificate(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxCertificate+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read certificate: %w", err)
	case len(raw) > maxCertificate:
		return nil, errors.New("read certificate: too large")
	default:
		return raw, nil
	}
}

// NewSNSClient returns the client for certificates and subscriptions.
func NewSNSClient() *http.Client { return outbound.NewClient(outbound.Config{Timeout: snsTimeout}) }

// parseCertificate reads a certificate that MUST be made out to SNS.
func parseCertificate(raw []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("parse certificate: no certificate in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	if !slices.ContainsFunc(append(cert.DNSNames, cert.Subject.CommonName), snsName.MatchString) {
		return nil, errors.New("parse certificate: not made out to SNS")
	}
	return cert, nil
}
