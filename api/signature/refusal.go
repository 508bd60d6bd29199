package signature

import "errors"

// Reason says why a request was refused; it is fit for a metric label.
type Reason string

// The reasons of refusal.
const (
	RefusedNoSecret         Reason = "no_secret"
	RefusedMethod           Reason = "method"
	RefusedTooLarge         Reason = "too_large"
	RefusedMissingSignature Reason = "missing_signature"
	RefusedBadSignature     Reason = "bad_signature"
	RefusedCredentials      Reason = "missing_credentials"
	RefusedStale            Reason = "stale"
	RefusedFuture           Reason = "from_the_future"
	RefusedDuplicateKey     Reason = "duplicate_key"
	RefusedUnreadable       Reason = "unreadable"
	RefusedTopic            Reason = "other_topic"
	RefusedCertificate      Reason = "forged_certificate_url"
	RefusedUnsigned         Reason = "unsigned_delivery"
	RefusedReplay           Reason = "replayed_token"
	RefusedProvider         Reason = "unknown_provider"
)

// RefusalError is the error of a request that is not proved to come from the
// provider. Nothing of it may be stored.
type RefusalError struct {
	Reason Reason
	// challenge asks for credentials: the client may come back with them.
	challenge bool
}

// Error implements error.
func (r *RefusalError) Error() string { return "refuse webhook: " + string(r.Reason) }

// ErrUnavailable is wrapped by the error of Verify when the request could not
// be judged for now, as the certificate of its signer could not be had. It is
// answered as overload, so that the provider comes back.
var ErrUnavailable = errors.New("signature cannot be judged now")

// Forged returns the refusal of a one-time token that came with another body.
func Forged() error { return refuse(RefusedReplay) }

// ReasonOf returns the reason of a refusal, or "" of any other error.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r.Reason
	}
	return ""
}

// refuse returns a refusal.
func refuse(reason Reason) *RefusalError { return &RefusalError{Reason: reason} }
