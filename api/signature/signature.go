// Package signature reads what providers post: it proves who sent a webhook,
// tells what its events mean for the consent of a person, and knows what the
// provider must be answered.
//
// It is pure, apart from the certificates of Amazon SNS (certificate.go): no
// Redis, no Postgres, no clock of its own. The order is always the same:
//
//	Verify   signature over the raw body, credentials, age   -> RefusalError
//	consume  a token that does not cover the body (OneTime)  -> caller
//	Decode   one Event an address, bad elements set aside    -> Decoded
//	append   events to their address lanes, make them durable -> caller
//	Answer   what this provider must hear (answer.go)
//
// A request that was refused MUST NOT be decoded. What cannot be read after a
// good signature is quarantined and answered as success: a provider would send
// it again for hours, and it would not become readable.
//
// One file a provider holds its verifier and its classification rules side by
// side; keyword.go holds the words of text messages and address.go the
// spelling of addresses.
package signature

import (
	"net/http"
	"time"

	"patchlane/tasks/contact"
)

// Provider names one of the senders of webhooks.
type Provider string

// The providers.
const (
	Twilio      Provider = "twilio"
	Vonage      Provider = "vonage"
	Telnyx      Provider = "telnyx"
	Plivo       Provider = "plivo"
	MessageBird Provider = "messagebird"
	Bird        Provider = "bird"
	SES         Provider = "ses"
	SendGrid    Provider = "sendgrid"
	Mailgun     Provider = "mailgun"
	Postmark    Provider = "postmark"
	SparkPost   Provider = "sparkpost"
	Brevo       Provider = "brevo"
	Mandrill    Provider = "mandrill"
	Resend      Provider = "resend"
	Standard    Provider = "standard"
)

// Providers returns every provider, in the order of the documentation.
func Providers() []Provider {
	return []Provider{
		Twilio, Vonage, Telnyx, Plivo, MessageBird, Bird, SES, SendGrid,
		Mailgun, Postmark, SparkPost, Brevo, Mandrill, Resend, Standard,
	}
}

// MaxBody is the largest body that is verified, in bytes. Callers MUST NOT
// read more than one byte beyond it.
const MaxBody = 5 << 20

// Endpoint is one configured receiver of webhooks.
type Endpoint struct {
	Provider Provider
	// Secrets are the live secrets; several while they are rotated. Their
	// meaning is the provider's: auth token, signing key, base64 public key,
	// "user:password", bearer token. An endpoint without any is refused
	// everything.
	Secrets []string
	// BasicAuth holds further "user:password" pairs. They admit what cannot
	// be signed: the raw delivery of SNS and the legacy SMS API of Vonage.
	BasicAuth []string
	// TopicARN is the only SNS topic that may post here.
	TopicARN string
	// URL is the public URL of the endpoint, without query: the one that was
	// given to the provider, never one rebuilt from forwarded headers.
	URL string
	// StopWords and StartWords are keywords of the account beside the common
	// ones, which they cannot take away.
	StopWords, StartWords []string
	// ReviewAmbiguous sends complaints that name several recipients, of whom
	// one complained, to review instead of opting all of them out.
	ReviewAmbiguous bool
	// IgnoreMentions drops texts that only contain a stop word. By default
	// they go to review.
	IgnoreMentions bool
}

// Request is one HTTP request as it arrived.
type Request struct {
	Method string
	Header http.Header
	// RawQuery is the query as the client spelled it.
	RawQuery string
	// Body is the raw body; signatures cover its bytes, not its meaning.
	Body []byte
	// ReceivedAt is the moment of arrival, the clock of every check.
	ReceivedAt time.Time
}

// Channel is what an event is about.
type Channel string

// The channels.
const (
	Email Channel = "email"
	SMS   Channel = "sms"
)

// Action is what an event asks for.
type Action string

// The actions.
const (
	// OptOut opts the address out for Event.Cause.
	OptOut Action = "opt_out"
	// OptIn is a re-subscription by the person.
	OptIn Action = "opt_in"
	// Review changes nothing until somebody decides; accepting it is an
	// opt-out for Event.Cause.
	Review Action = "review"
	// None is recorded and changes nothing.
	None Action = "none"
)

// The reasons of events that are not the name of a cause.
const (
	ReasonStart       = "keyword_start"
	ReasonResubscribe = "resubscribe"
	ReasonNatural     = "natural_language"
	ReasonReactivated = "provider_reactivated"
	ReasonYes         = "keyword_yes"
)

// Event is what one element of a webhook says about one address.
type Event struct {
	Channel Channel
	// Address is the key of the address: E.164 with "+", or the comparison
	// form of an e-mail address.
	Address string
	Action  Action
	// Cause is set for OptOut and Review.
	Cause contact.Cause
	// Reason is the cause in one word, also for what is no opt-out.
	Reason string
	// Kind is the event in the provider's own words.
	Kind string
	// ProviderID is the id that the provider gave the event, or a hash of what
	// identifies it. Recipients of one report share it.
	ProviderID string
	// DedupID is equal for every repetition of this event about this address,
	// whichever endpoint of the account it came through: 32 hex digits.
	DedupID string
	// At is the provider's own time; zero when it gave none that can be true.
	At time.Time
	// WholeSeconds tells that At has no finer resolution than a second.
	WholeSeconds bool
	// Ambiguous tells that the report names several recipients and does not
	// say which of them it means.
	Ambiguous bool
	// OptInIfStopped marks an event with action None that is a START only for
	// an address whose standing cause is KeywordStop.
	OptInIfStopped bool
	// Evidence is a small JSON object of strings for audit and review.
	Evidence []byte
}

// Quarantined is an element that could not be read after a good signature.
type Quarantined struct {
	// Reason is one of the Quarantine constants.
	Reason string
	// Detail says what is wrong, for operators.
	Detail string
	// Raw is the element, cut to maxQuarantined bytes.
	Raw []byte
}

// The reasons of quarantine.
const (
	QuarantineMalformed    = "malformed"
	QuarantineDuplicateKey = "duplicate_key"
	QuarantineUnknownType  = "unknown_type"
	QuarantineBadAddress   = "bad_address"
)

// Ignored is an element that was read and changes nothing.
type Ignored struct {
	// Kind is the provider's own word, cut to a length fit for logs.
	Kind string
	// Why is a short constant, fit for a metric.
	Why string
}

// Decoded is the content of a verified request.
type Decoded struct {
	Events      []Event
	Quarantined []Quarantined
	Ignored     []Ignored
	// ConfirmURL, when not empty, asks the caller to GET it: the
	// SubscriptionConfirmation of the endpoint's own SNS topic. It is always
	// at a host of SNS. Failing to reach it is answered as overload.
	ConfirmURL string
	// FeedCut tells that the SNS subscription was ended: alarm an operator.
	FeedCut bool
}

// Verified is what a good signature leaves to the caller.
type Verified struct {
	// OneTime, when not nil, MUST be consumed before Decode.
	OneTime *OneTime
	// Challenge tells that the provider only tries the endpoint: answer
	// success and decode nothing.
	Challenge bool
}

// OneTime is a signed token that does not cover the body. The caller keeps
// Token with BodyHash for TTL, if it was not kept yet. The same hash is a
// repetition and proceeds; another hash is a forgery: refuse with Forged.
type OneTime struct {
	Token    string
	BodyHash [32]byte
	TTL      time.Duration
}
