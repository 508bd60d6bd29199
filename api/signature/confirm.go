package signature

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Confirm asks SNS to begin a subscription, with the URL that Decode found in
// its confirmation and a client of NewSNSClient. An error is answered as
// overload, so that SNS asks again.
func Confirm(ctx context.Context, client *http.Client, confirmURL string) error {
	u, ok := snsURL(confirmURL)
	if !ok {
		return errors.New("confirm subscription: not a URL of SNS")
	}
	return confirmAt(ctx, client, u.String())
}

// confirmAt asks for a URL and wants a 200 from it.
func confirmAt(ctx context.Context, client *http.Client, place string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, snsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, http.NoBody)
	if err != nil {
		return fmt.Errorf("confirm subscription: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("confirm subscription: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("confirm subscription: status %d", resp.StatusCode)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, maxCertificate); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("confirm subscription: %w", err)
	}
	return nil
}
