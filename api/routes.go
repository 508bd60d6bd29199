package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"patchlane/tasks/contact"
)

// handler answers one request whose caller is known and allowed. An error is
// answered in the caller's dialect.
type handler func(ctx context.Context, x *exchange) error

// route is one row of the HTTP surface.
type route struct {
	method string
	// pattern is the path under /v1; it is what is logged and counted.
	pattern string
	// mounts are the prefixes under which the pattern is found.
	mounts []string
	// scopes are those of which the key needs one; none: no credential.
	scopes []contact.Scope
	handle handler
}

// routes is the whole HTTP surface. HEAD is answered wherever GET is.
func (s *Server) routes() []route {
	var (
		// The vendors' documented paths are aliases of one resource.
		mounted = []string{"/v1", "", "/functions/v1/api/v1", "/functions/v1/api-gateway/v1"}
		native  = []string{"/v1"}
		root    = []string{""}

		read   = []contact.Scope{contact.ContactsRead}
		write  = []contact.Scope{contact.ContactsWrite}
		remove = []contact.Scope{contact.ContactsDelete}
		audit  = []contact.Scope{contact.AuditRead}
		admin  = []contact.Scope{contact.WritesAdmin}
		settle = []contact.Scope{contact.SettingsWrite}
		// Whoever may write may also ask what became of a write.
		follow = []contact.Scope{contact.ContactsRead, contact.ContactsWrite, contact.WritesAdmin}
		open   []contact.Scope
		// Doubtful opt-outs are judged by who may write contacts or looks after
		// failed writes.
		judge = []contact.Scope{contact.ContactsWrite, contact.WritesAdmin}
	)
	return []route{
		{"GET", "/contacts", mounted, read, s.listContacts},
		{"POST", "/contacts", mounted, write, s.createContact},
		{"POST", "/contacts/batch", mounted, write, s.batch},
		{"GET", "/contacts/{id}", mounted, read, s.getContact},
		{"PATCH", "/contacts/{id}", mounted, write, s.patchContact},
		{"DELETE", "/contacts/{id}", mounted, remove, s.archiveContact},
		{"POST", "/contacts/{id}/restore", mounted, remove, s.restoreContact},
		{"GET", "/data/crm-logs", mounted, audit, s.changeLog},

		{"GET", "/writes", native, follow, s.listWrites},
		{"GET", "/writes/{id}", native, follow, s.getWrite},
		{"POST", "/writes/{id}/retry", native, admin, s.retryWrite},
		{"POST", "/writes/{id}/discard", native, admin, s.discardWrite},

		{"GET", "/tags", native, settle, s.listTags},
		{"POST", "/tags", native, settle, s.createTag},
		{"DELETE", "/tags/{name}", native, settle, s.deleteTag},
		{"GET", "/custom-fields", native, settle, s.listFields},
		{"POST", "/custom-fields", native, settle, s.createField},
		{"DELETE", "/custom-fields/{name}", native, settle, s.deleteField},
		{"POST", "/oauth2/token", root, open, s.issueToken},
		{"GET", "/.well-known/jwks.json", root, open, s.tokenKeys},

		{"GET", "/webhooks/{id}", native, open, s.webhook},
		{"POST", "/webhooks/{id}", native, open, s.webhook},
		{"GET", "/webhook-endpoints", native, settle, s.listEndpoints},
		{"POST", "/webhook-endpoints", native, settle, s.createEndpoint},
		{"GET", "/webhook-endpoints/{id}", native, settle, s.getEndpoint},
		{"PATCH", "/webhook-endpoints/{id}", native, settle, s.changeEndpoint},
		{"DELETE", "/webhook-endpoints/{id}", native, settle, s.deleteEndpoint},
		{"GET", "/suppressions", native, read, s.listSuppressions},
		{"POST", "/suppressions", native, write, s.createSuppression},
		{"DELETE", "/suppressions", native, write, s.deleteSuppression},
		{"GET", "/optout-reviews", native, judge, s.listReviews},
		{"GET", "/optout-reviews/{id}", native, judge, s.getReview},
		{"POST", "/optout-reviews/{id}/accept", native, judge, s.acceptReview},
		{"POST", "/optout-reviews/{id}/dismiss", native, judge, s.dismissReview},
		{"GET", "/quarantined-events", native, admin, s.listQuarantine},
		{"POST", "/unsubscribe-links", native, write, s.createLink},
		{"GET", "/unsubscribe/{token}", native, open, s.showUnsubscribe},
		{"POST", "/unsubscribe/{token}", native, open, s.unsubscribe},

		{"GET", "/openapi.yaml", root, open, s.openapi},
		{"GET", "/docs", root, open, s.docs},
		{"GET", "/livez", root, open, s.livez},
		{"GET", "/readyz", root, open, s.readyz},
	}
}

// label is the name of the route in logs and metrics.
func (r *route) label() string {
	if !slices.Contains(r.mounts, "/v1") {
		return r.pattern
	}
	return "/v1" + r.pattern
}

// endpoint is everything that one path answers, by method.
type endpoint struct {
	server  *Server
	methods map[string]*route
	allow   string
}

// mux builds the router from the table. Patterns carry no method: an endpoint
// knows its methods, so that a wrong one is answered like any other error.
func (s *Server) mux() *http.ServeMux {
	endpoints := make(map[string]*endpoint)
	for _, r := range s.routes() {
		for _, prefix := range r.mounts {
			path := prefix + r.pattern
			e := endpoints[path]
			if e == nil {
				e = &endpoint{server: s, methods: make(map[string]*route)}
				endpoints[path] = e
			}
			e.methods[r.method] = &r
			if r.method == http.MethodGet {
				e.methods[http.MethodHead] = &r
			}
		}
	}
	mux := http.NewServeMux()
	for path, e := range endpoints {
		e.allow = strings.Join(slices.Sorted(maps.Keys(e.methods)), ", ")
		mux.Handle(path, e)
	}
	mux.Handle("/", &endpoint{server: s})
	return mux
}
