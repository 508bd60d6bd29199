package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

// endpointSettings are the rules of an endpoint beside its secrets. Their JSON
// is what the store keeps.
type endpointSettings struct {
	StopWords       []string `json:"stop_words,omitempty"`
	StartWords      []string `json:"start_words,omitempty"`
	ReviewAmbiguous bool     `json:"review_ambiguous,omitempty"`
	IgnoreMentions  bool     `json:"ignore_mentions,omitempty"`
}

// The bounds of what an endpoint may hold.
const (
	maxWords      = 50
	maxWordBytes  = 40
	maxSecret     = 4096
	maxBasicPairs = 3
)

// settingsOf reads the rules of an endpoint. What cannot be read is ours, and
// an endpoint without rules of its own still verifies.
func settingsOf(e *contact.Endpoint) endpointSettings {
	var s endpointSettings
	if len(e.Settings) > 0 && json.Unmarshal(e.Settings, &s) != nil {
		return endpointSettings{}
	}
	return s
}

// signedEndpoint is an endpoint as package signature wants it.
func signedEndpoint(e *contact.Endpoint, publicURL string) signature.Endpoint {
	s := settingsOf(e)
	return signature.Endpoint{
		Provider: signature.Provider(e.Provider), Secrets: e.Secrets, BasicAuth: e.BasicAuth,
		TopicARN: e.TopicARN, URL: publicURL, StopWords: s.StopWords, StartWords: s.StartWords,
		ReviewAmbiguous: s.ReviewAmbiguous, IgnoreMentions: s.IgnoreMentions,
	}
}

// EndpointPath is the path that a provider calls.
func EndpointPath(id uuid.UUID) string { return "/v1/webhooks/" + id.String() }

// endpointURL is the URL that is given to the provider, and signed by some.
func (s *Server) endpointURL(x *exchange, id uuid.UUID) string {
	return s.publicURL(x) + EndpointPath(id)
}

// CheckEndpoint returns every reason why an endpoint could never verify a
// request, or may not be kept.
func CheckEndpoint(e *contact.Endpoint) []contact.FieldError {
	ep := signedEndpoint(e, "")
	problems := unverifiable(&ep)
	bad := func(field, message string) {
		problems = append(problems, contact.FieldError{Field: field, Code: contact.ProblemInvalidFormat, Message: message})
	}
	tooLong := func(s string) bool { return len(s) > maxSecret }
	if slices.ContainsFunc(e.Secrets, tooLong) || slices.ContainsFunc(e.BasicAuth, tooLong) {
		bad("secrets", "A secret has at most 4096 bytes.")
	}
	noPair := func(s string) bool { user, password, _ := strings.Cut(s, ":"); return user == "" || password == "" }
	if len(e.BasicAuth) > maxBasicPairs || slices.ContainsFunc(e.BasicAuth, noPair) {
		bad("basic_auth", "Send at most three texts of the form user:password.")
	}
	if e.TopicARN != "" && e.Provider != string(signature.SES) {
		bad("topic_arn", "Only an endpoint for ses has a topic.")
	}
	if !fewWords(ep.StopWords) {
		bad("stop_words", "Send at most 50 words, each of 1 to 40 bytes.")
	}
	if !fewWords(ep.StartWords) {
		bad("start_words", "Send at most 50 words, each of 1 to 40 bytes.")
	}
	return problems
}

// unverifiable names the member that each problem of package signature is about.
func unverifiable(ep *signature.Endpoint) []contact.FieldError {
	err := ep.Validate()
	if err == nil {
		return nil
	}
	var problems []contact.FieldError
	for text := range strings.SplitSeq(err.Error(), "\n") {
		field := "secrets"
		switch {
		case strings.HasPrefix(text, "provider"):
			field = "provider"
		case strings.HasPrefix(text, "topic_arn"):
			field = "topic_arn"
		}
		problems = append(problems, contact.FieldError{
			Field: field, Code: contact.ProblemInvalidFormat, Message: sentence(text),
		})
	}
	return problems
}

// fewWords bounds the keywords of an account.
func fewWords(words []string) bool {
	noWord := func(w string) bool { return strings.TrimSpace(w) == "" || len(w) > maxWordBytes }
	return len(words) <= maxWords && !slices.ContainsFunc(words, noWord)
}

// sentence makes the text of an inner check presentable.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// createEndpoint makes a webhook endpoint. Its secrets are never shown again.
func (s *Server) createEndpoint(ctx context.Context, x *exchange) error {
	body, err := x.readEndpoint(false)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	e := contact.Endpoint{ID: id, Account: x.account(), Provider: *body.Provider, CreatedAt: s.now().UTC()}
	change, err := changeOf(&body, &e)
	if err != nil {
		return err
	}
	e.Secrets, e.BasicAuth, e.Settings = change.Secrets, change.BasicAuth, change.Settings
	if change.TopicARN != nil {
		e.TopicARN = *change.TopicARN
	}
	if problems := CheckEndpoint(&e); len(problems) > 0 {
		return invalid(problems)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.opt.Optouts.Endpoints.CreateEndpoint(ctx, e); err != nil {
		return storeError(err)
	}
	// Without the copy the endpoint works all the same: a miss asks the store.
	if err := s.optouts.directory.publish(ctx, e); err != nil {
		s.opt.Logger.WarnContext(ctx, "endpoint mirror not written", "err", err, "endpoint_id", e.ID)
	}
	x.w.Header().Set("Location", "/v1/webhook-endpoints/"+id.String())
	return s.showEndpoint(x, http.StatusCreated, &e)
}

// readEndpoint reads a body and answers its problems.
func (x *exchange) readEndpoint(isChange bool) (dialect.EndpointBody, error) {
	raw, err := x.readBody(maxBody)
	if err != nil {
		return dialect.EndpointBody{}, err
	}
	body, problems, err := dialect.DecodeEndpoint(raw, isChange)
	if err == nil && len(problems) > 0 {
		err = invalid(problems)
	}
	return body, err
}

// changeOf says what a body changes of an endpoint.
func changeOf(body *dialect.EndpointBody, e *contact.Endpoint) (contact.EndpointChange, error) {
	c := contact.EndpointChange{Secrets: body.Secrets, BasicAuth: body.BasicAuth, TopicARN: body.TopicARN}
	rules := settingsOf(e)
	if body.StopWords != nil {
		rules.StopWords = body.StopWords
	}
	if body.StartWords != nil {
		rules.StartWords = body.StartWords
	}
	if body.ReviewAmbiguous != nil {
		rules.ReviewAmbiguous = *body.ReviewAmbiguous
	}
	if body.IgnoreMentions != nil {
		rules.IgnoreMentions = *body.IgnoreMentions
	}
	settings, err := json.Marshal(rules)
	if err != nil {
		return c, fmt.Errorf("write endpoint settings: %w", err)
	}
	c.Settings = settings
	return c, nil
}

// changeEndpoint rotates the secrets of an endpoint, or changes its rules. The
// old secrets end with the answer, so a rotation first sends both.
func (s *Server) changeEndpoint(ctx context.Context, x *exchange) error {
	e, err := s.ownEndpoint(ctx, x)
	if err != nil {
		return err
	}
	body, err := x.readEndpoint(true)
	if err != nil {
		return err
	}
	change, err := changeOf(&body, &e)
	if err != nil {
		return err
	}
	after := e
	after.Settings = change.Settings
	if change.Secrets != nil {
		after.Secrets = change.Secrets
	}
	if change.BasicAuth != nil {
		after.BasicAuth = change.BasicAuth
	}
	if change.TopicARN != nil {
		after.TopicARN = *change.TopicARN
	}
	if problems := CheckEndpoint(&after); len(problems) > 0 {
		return invalid(problems)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if after, err = s.opt.Optouts.Endpoints.ChangeEndpoint(ctx, e.Account, e.ID, change); err != nil {
		return storeError(err)
	}
	if err := s.optouts.directory.publish(ctx, after); err != nil {
		return err
	}
	return s.showEndpoint(x, http.StatusOK, &after)
}

// deleteEndpoint ends an endpoint: what is posted to it is 404 from now on.
func (s *Server) deleteEndpoint(ctx context.Context, x *exchange) error {
	e, err := s.ownEndpoint(ctx, x)
	if err != nil {
		return err
	}
	if err := x.noMembers(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if e.DeletedAt == nil {
		if e, err = s.opt.Optouts.Endpoints.DeleteEndpoint(ctx, e.Account, e.ID); err != nil {
			return storeError(err)
		}
	}
	if err := s.optouts.directory.publish(ctx, e); err != nil {
		return err
	}
	x.reply(http.StatusNoContent, nil)
	return nil
}

// getEndpoint shows one endpoint.
func (s *Server) getEndpoint(ctx context.Context, x *exchange) error {
	e, err := s.ownEndpoint(ctx, x)
	if err != nil {
		return err
	}
	return s.showEndpoint(x, http.StatusOK, &e)
}

// ownEndpoint reads the endpoint of the path from the store, if it is the
// caller's. A deleted one is found, so that a deletion which reached the store
// alone can be repeated.
func (s *Server) ownEndpoint(ctx context.Context, x *exchange) (contact.Endpoint, error) {
	id, err := x.pathID("webhook endpoint")
	if err != nil {
		return contact.Endpoint{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	e, err := s.opt.Optouts.Endpoints.Endpoint(ctx, id)
	if err != nil {
		return contact.Endpoint{}, storeError(err)
	}
	if e.Account != x.account() || (e.DeletedAt != nil && x.Method != http.MethodDelete) {
		return contact.Endpoint{}, notFound("webhook endpoint")
	}
	return e, nil
}

// listEndpoints lists the endpoints of the account.
func (s *Server) listEndpoints(ctx context.Context, x *exchange) error {
	q := x.readQuery("limit", "cursor")
	limit := q.limit()
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	all, next, err := s.opt.Optouts.Endpoints.Endpoints(ctx, x.account(), limit, q.text("cursor"))
	if err != nil {
		return storeError(err)
	}
	views := make([]dialect.EndpointView, len(all))
	for i := range all {
		views[i] = s.endpointView(x, &all[i])
	}
	body, err := dialect.EncodeEndpoints(views, limit, next)
	if err != nil {
		return err
	}
	x.reply(http.StatusOK, body)
	return nil
}

func (s *Server) endpointView(x *exchange, e *contact.Endpoint) dialect.EndpointView {
	rules := settingsOf(e)
	return dialect.EndpointView{
		Endpoint: e, URL: s.endpointURL(x, e.ID), StopWords: rules.StopWords, StartWords: rules.StartWords,
		ReviewAmbiguous: rules.ReviewAmbiguous, IgnoreMentions: rules.IgnoreMentions,
	}
}

// showEndpoint answers one endpoint.
func (s *Server) showEndpoint(x *exchange, status int, e *contact.Endpoint) error {
	v := s.endpointView(x, e)
	body, err := dialect.EncodeEndpoint(&v)
	if err != nil {
		return err
	}
	x.reply(status, body)
	return nil
}
