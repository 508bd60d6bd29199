package signature

import (
	"context"
	"slices"
	"time"
)

// futureSkew is how far a provider's clock may be ahead of ours.
const futureSkew = 5 * time.Minute

// Verifier proves who sent a request. It is safe for concurrent use.
type Verifier struct {
	certificates *certificates
}

// NewVerifier returns a Verifier that takes the certificates of SNS from
// fetch, usually FirstOf(CertDir(dir), HTTPSCertificates(NewSNSClient())).
// With nil, every SNS message is unavailable.
func NewVerifier(fetch CertificateFetcher) *Verifier {
	return &Verifier{certificates: newCertificates(fetch)}
}

// Verify proves that the provider of the endpoint sent the request, recently
// enough for how long that provider repeats one. The error is a *RefusalError or
// wraps ErrUnavailable or the error of ctx.
func (v *Verifier) Verify(ctx context.Context, ep Endpoint, req Request) (Verified, error) {
	check, ok := v.check(ep.Provider)
	switch {
	case !ok:
		return Verified{}, refuse(RefusedProvider)
	case !slices.Contains(methodsOf(ep.Provider), req.Method):
		return Verified{}, refuse(RefusedMethod)
	case len(req.Body) > MaxBody:
		return Verified{}, refuse(RefusedTooLarge)
	}
	verified, err := check(ctx, ep, req)
	if err != nil {
		return Verified{}, err
	}
	return verified, nil
}

// verifyFunc is the verifier of one provider.
type verifyFunc func(context.Context, Endpoint, Request) (Verified, error)

// check returns the verifier of a provider.
func (v *Verifier) check(p Provider) (verifyFunc, bool) {
	if p == SES {
		return v.verifySES, true
	}
	pure, ok := pureCheck(p)
	return func(_ context.Context, ep Endpoint, req Request) (Verified, error) {
		return pure(ep, req)
	}, ok
}

// pureCheck returns the verifier of a provider that needs nothing but the
// request.
func pureCheck(p Provider) (func(Endpoint, Request) (Verified, error), bool) {
	switch p {
	case Twilio:
		return verifyTwilio, true
	case Vonage:
		return verifyVonage, true
	case Telnyx:
		return verifyTelnyx, true
	case Plivo:
		return verifyPlivo, true
	case MessageBird:
		return verifyMessageBird, true
	case Bird:
		return verifyBird, true
	case SendGrid:
		return verifySendGrid, true
	case Mailgun:
		return verifyMailgun, true
	case Postmark, SparkPost:
		return verifyBasic, true
	case Brevo:
		return verifyBrevo, true
	case Mandrill:
		return verifyMandrill, true
	case Resend:
		return verifyResend, true
	case Standard:
		return verifyStandard, true
	default:
		return nil, false
	}
}

// Decode tells what a verified request means. It never fails: what cannot be
// read is in Quarantined, whole or by element.
func Decode(ep Endpoint, req Request) Decoded {
	c := &collector{ep: ep, req: req}
	if decode := decoderOf(ep.Provider); decode != nil {
		decode(c)
	}
	return c.out
}

// decoderOf returns the decoder of a provider.
func decoderOf(p Provider) func(*collector) {
	if decode := smsDecoder(p); decode != nil {
		return decode
	}
	return emailDecoder(p)
}

// smsDecoder returns the decoder of a provider of text messages.
func smsDecoder(p Provider) func(*collector) {
	switch p {
	case Twilio:
		return decodeTwilio
	case Vonage:
		return decodeVonage
	case Telnyx:
		return decodeTelnyx
	case Plivo:
		return decodePlivo
	case MessageBird:
		return decodeMessageBird
	case Bird:
		return decodeBird
	default:
		return nil
	}
}

// emailDecoder returns the decoder of a provider of e-mail, or of the generic
// endpoint.
func emailDecoder(p Provider) func(*collector) {
	switch p {
	case SES:
		return decodeSES
	case SendGrid:
		return decodeSendGrid
	case Mailgun:
		return decodeMailgun
	case Postmark:
		return decodePostmark
	case SparkPost:
		return decodeSparkPost
	case Brevo:
		return decodeBrevo
	case Mandrill:
		return decodeMandrill
	case Resend:
		return decodeResend
	case Standard:
		return decodeStandard
	default:
		return nil
	}
}

// fresh refuses what was signed longer than window before its arrival, or
// further in the future than clocks differ. A window shorter than the time
// over which the provider repeats the same signature would lose events.
func fresh(signed, received time.Time, window time.Duration) error {
	switch age := received.Sub(signed); {
	case age > window:
		return refuse(RefusedStale)
	case age < -futureSkew:
		return refuse(RefusedFuture)
	default:
		return nil
	}
}
