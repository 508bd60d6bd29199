package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

// eventAppender makes events durable.
type eventAppender interface {
	// AppendEvents returns when each event is in the lane of its address,
	// fsynced, or refused, answered place by place. Its errors are
	// *contact.Error.
	AppendEvents(ctx context.Context, events []*contact.Event) ([]contact.Receipt, []error)
}

// suppressionStore answers questions about addresses and their events.
type suppressionStore interface {
	// Suppressions reads a page of the suppressed addresses of an account.
	Suppressions(ctx context.Context, q contact.SuppressionQuery) (contact.SuppressionPage, error)
	// EventByID tells what became of an event; not_found while it waits in its
	// lane.
	EventByID(ctx context.Context, account, id uuid.UUID) (contact.EventRecord, error)
	// Quarantined reads a page of what could not be read.
	Quarantined(ctx context.Context, q contact.QuarantineQuery) (contact.QuarantinePage, error)
}

// reviewStore keeps the reports that somebody has to judge.
type reviewStore interface {
	// Reviews reads a page of reviews.
	Reviews(ctx context.Context, q contact.ReviewQuery) (contact.ReviewPage, error)
	// Review reads one; not_found when it is not of the account.
	Review(ctx context.Context, account, id uuid.UUID) (contact.OptOutReview, error)
	// DismissReview decides that a report is no opt-out. A review that was decided
	// before stays so, and is returned as it stands.
	DismissReview(ctx context.Context, account, id uuid.UUID, actor string) (contact.OptOutReview, error)
}

// endpointStore is the truth about webhook endpoints.
type endpointStore interface {
	// CreateEndpoint keeps a new endpoint.
	CreateEndpoint(ctx context.Context, e contact.Endpoint) error
	// Endpoint finds one by its id, deleted ones too, or says not_found.
	Endpoint(ctx context.Context, id uuid.UUID) (contact.Endpoint, error)
	// Endpoints reads a page of those of an account that are not deleted, and the
	// cursor of the next page if there is one.
	Endpoints(ctx context.Context, account uuid.UUID, limit int, after string) ([]contact.Endpoint, string, error)
	// ChangeEndpoint sets what the change names, and returns the endpoint.
	ChangeEndpoint(ctx context.Context, account, id uuid.UUID, c contact.EndpointChange) (contact.Endpoint, error)
	// DeleteEndpoint marks an endpoint as deleted, and returns it so; not_found
	// when it was before.
	DeleteEndpoint(ctx context.Context, account, id uuid.UUID) (contact.Endpoint, error)
}

// endpointFeed tells what others changed.
type endpointFeed interface {
	// EndpointsChangedSince lists the endpoints that were made, changed or deleted
	// since a moment.
	EndpointsChangedSince(ctx context.Context, t time.Time) ([]contact.Endpoint, error)
}

// endpointMirror is the copy of the endpoints in Redis, which accepting needs
// alone.
type endpointMirror interface {
	// Endpoint finds an endpoint; false when the mirror does not have it.
	Endpoint(ctx context.Context, id uuid.UUID) (contact.Endpoint, bool, error)
	// FillEndpoint adds an endpoint that the mirror does not have. It MUST NOT
	// replace one, since that one may be newer.
	FillEndpoint(ctx context.Context, e contact.Endpoint) error
	// PutEndpoint replaces an endpoint.
	PutEndpoint(ctx context.Context, e contact.Endpoint) error
}

// tokenKeeper consumes the signed tokens that do not cover a body.
type tokenKeeper interface {
	// ConsumeToken keeps a token with the hash of its body for a time. It returns
	// false when the token was kept with another hash.
	ConsumeToken(ctx context.Context, scope, token string, body [32]byte, ttl time.Duration) (bool, error)
}

// Optouts are what the opt-out side of a Server needs. All of it is required
// but PublicURL.
type Optouts struct {
	// Events is answered by the address lanes.
	Events eventAppender
	// Suppressions, Reviews and Endpoints are answered by the store.
	Suppressions suppressionStore
	Reviews      reviewStore
	Endpoints    endpointStore
	EndpointFeed endpointFeed
	// EndpointMirror and Tokens are answered by Redis.
	EndpointMirror endpointMirror
	Tokens         tokenKeeper
	// Verifier proves who sent a webhook; Confirm asks SNS to begin a
	// subscription.
	Verifier *signature.Verifier
	Confirm  func(ctx context.Context, confirmURL string) error
	// LinkKey returns the secret that unsubscribe links are made with, of at
	// least 32 bytes.
	LinkKey func(ctx context.Context) ([]byte, error)
	// PublicURL is the address under which providers and people reach this API,
	// without a slash at its end. Empty: the one that a request was sent to,
	// which never comes from a forwarded header.
	PublicURL string
	// Rate is the most requests a second that one endpoint takes in this process;
	// 0: no bound.
	Rate int
}

// missing names what is not there.
func (o *Optouts) missing() []string {
	var names []string
	for _, part := range []struct {
		name  string
		there bool
	}{
		{"Optouts.Events", o.Events != nil},
		{"Optouts.Suppressions", o.Suppressions != nil},
		{"Optouts.Reviews", o.Reviews != nil},
		{"Optouts.Endpoints", o.Endpoints != nil},
		{"Optouts.EndpointFeed", o.EndpointFeed != nil},
		{"Optouts.EndpointMirror", o.EndpointMirror != nil},
		{"Optouts.Tokens", o.Tokens != nil},
		{"Optouts.Verifier", o.Verifier != nil},
		{"Optouts.Confirm", o.Confirm != nil},
		{"Optouts.LinkKey", o.LinkKey != nil},
	} {
		if !part.there {
			names = append(names, part.name)
		}
	}
	return names
}

// optouts is the state of the opt-out side of a server.
type optouts struct {
	directory *directory
	intakes   *intakes
	paces     *paces
	links     *linkKeys
	metrics   *hookMetrics
}

// newOptouts makes it; the server has its options by now.
func newOptouts(o *Options) *optouts {
	return &optouts{
		directory: newDirectory(o), intakes: newIntakes(), links: &linkKeys{source: o.Optouts.LinkKey},
		metrics: newHookMetrics(o.Registerer), paces: newPaces(o.Optouts.Rate),
	}
}

// publicURL is the address under which the caller reaches this API.
func (s *Server) publicURL(x *exchange) string {
	if s.opt.Optouts.PublicURL != "" {
		return s.opt.Optouts.PublicURL
	}
	if x.TLS != nil {
		return "https://" + x.Host
	}
	return "http://" + x.Host
}
