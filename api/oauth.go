package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/api/token"
	"patchlane/tasks/contact"
)

// maxForm is the size of the largest token request.
const maxForm = 16 << 10

// oauthError is an error in the words of RFC 6749, section 5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	status      int
	cause       error
}

// Error returns the code and the description.
func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

// Unwrap returns the inner error.
func (e *oauthError) Unwrap() error { return e.cause }

func invalidRequest(description string) *oauthError {
	return &oauthError{Code: "invalid_request", Description: description, status: http.StatusBadRequest}
}

// invalidClient says no more than that: neither which half of the credential is
// wrong nor whether the key has ended.
func invalidClient() *oauthError {
	return &oauthError{
		Code: "invalid_client", status: http.StatusUnauthorized,
		Description: "client_id is the id of a key, client_secret the key; they are unknown, do not belong together, or have ended",
	}
}

// tokenAnswer is the answer of RFC 6749, section 5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
}

// issueToken answers POST /oauth2/token: an API key is exchanged for a token that
// names it, so that the key itself travels rarely.
func (s *Server) issueToken(ctx context.Context, x *exchange) error {
	// The older half of what section 5.1 asks for; Cache-Control is set for all.
	x.w.Header().Set("Pragma", "no-cache")
	answer, err := s.exchangeToken(ctx, x)
	if err != nil {
		return x.failOAuth(s, err)
	}
	body, err := json.Marshal(answer) //nolint:gosec // The token is for the client.
	if err != nil {
		return err
	}
	x.outcome = "token issued"
	x.reply(http.StatusOK, append(body, '\n'))
	return nil
}

// exchangeToken makes the checks in their order: form, grant, client, scope.
func (s *Server) exchangeToken(ctx context.Context, x *exchange) (*tokenAnswer, error) {
	form, err := x.readForm()
	if err != nil {
		return nil, err
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		return nil, invalidRequest("grant_type is missing")
	default:
		return nil, &oauthError{
			Code: "unsupported_grant_type", status: http.StatusBadRequest,
			Description: "the only grant_type is client_credentials",
		}
	}
	key, err := s.client(ctx, x, form)
	if err != nil {
		return nil, err
	}
	x.key = &key
	scopes, err := grantedScopes(&key, form.Get("scope"))
	if err != nil {
		return nil, err
	}
	issued, err := s.opt.Tokens.Issue(ctx, &key, scopes)
	if err != nil {
		return nil, err
	}
	return &tokenAnswer{
		AccessToken: issued.Token, TokenType: "Bearer",
		ExpiresIn: int(math.Floor(issued.Expires.Seconds())), Scope: token.JoinScopes(scopes),
	}, nil
}

// readForm reads the parameters of a token request. They come in the body alone:
// addresses are logged on their way.
func (x *exchange) readForm() (url.Values, error) {
	values := x.Header.Values("Content-Type")
	media, _, err := mime.ParseMediaType(strings.Join(values, ", "))
	if err != nil || media != "application/x-www-form-urlencoded" || checkEncoding(x.Header) != nil {
		return nil, invalidRequest("the body must be of type application/x-www-form-urlencoded")
	}
	if x.ContentLength > maxForm {
		x.w.Header().Set("Connection", "close")
		return nil, invalidRequest("the body is too large")
	}
	body, err := x.drain(maxForm)
	if err != nil {
		return nil, invalidRequest("the body is too large, ended early or came too slowly")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalidRequest("the body is no form")
	}
	query := x.URL.Query()
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope"} {
		if query.Has(name) {
			return nil, invalidRequest("parameters belong into the body")
		}
		if len(form[name]) > 1 {
			return nil, invalidRequest(name + " is there more than once")
		}
		if !utf8.ValidString(form.Get(name)) {
			return nil, invalidRequest(name + " is not in UTF-8")
		}
	}
	return form, nil
}

// client finds the key that a token is asked for with.
func (s *Server) client(ctx context.Context, x *exchange, form url.Values) (contact.Key, error) {
	id, secret, err := clientCredentials(x.Header, form)
	if err != nil {
		return contact.Key{}, err
	}
	wanted, err := uuid.Parse(id)
	if err != nil || len(secret) < minCredential || len(secret) > maxCredential {
		return contact.Key{}, invalidClient()
	}
	key, err := s.keys.find(ctx, sha256.Sum256([]byte(secret)))
	if contact.CodeOf(err) == contact.CodeUnauthorized {
		return contact.Key{}, invalidClient()
	}
	if err != nil {
		return contact.Key{}, err
	}
	_, spoken := dialect.ByName(key.Dialect)
	if key.ID != wanted || !key.Live(s.now()) || !spoken {
		return contact.Key{}, invalidClient()
	}
	return key, nil
}

// clientCredentials reads id and secret from the form or from Basic, where each
// is written as in a form. Two ways at once are refused.
func clientCredentials(h http.Header, form url.Values) (id, secret string, err error) {
	id, secret = form.Get("client_id"), form.Get("client_secret")
	given := h.Values("Authorization")
	switch {
	case len(given) > 1:
		return "", "", invalidRequest("there is more than one Authorization header")
	case len(given) == 0:
		return id, secret, nil
	case secret != "":
		return "", "", invalidRequest("the client authenticates in two ways")
	}
	user, password, basic := (&http.Request{Header: h}).BasicAuth()
	if !basic {
		return "", "", invalidClient()
	}
	name, nameErr := url.QueryUnescape(user)
	key, keyErr := url.QueryUnescape(password)
	if nameErr != nil || keyErr != nil || (id != "" && id != name) {
		return "", "", invalidClient()
	}
	return name, key, nil
}

// grantedScopes are the scopes asked for, which the key must have; without any,
// all of the key.
func grantedScopes(key *contact.Key, asked string) ([]contact.Scope, error) {
	if asked == "" {
		return key.Scopes, nil
	}
	var granted []contact.Scope
	for name := range strings.SplitSeq(asked, " ") {
		scope := contact.Scope(name)
		if !key.Has(scope) {
			return nil, &oauthError{
				Code: "invalid_scope", status: http.StatusBadRequest,
				Description: "scope must be a list, with one blank between, of scopes that the key has",
			}
		}
		if !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	return granted, nil
}

// failOAuth answers an error in the words of RFC 6749, which has none for an
// outage here; temporarily_unavailable is that of its other endpoint.
func (x *exchange) failOAuth(s *Server, err error) error {
	x.failure = err
	var told *oauthError
	if !errors.As(err, &told) {
		p, pause := s.problem(err, x.id)
		if pause > 0 {
			x.w.Header().Set("Retry-After", retryAfter(pause))
		}
		told = &oauthError{Code: "temporarily_unavailable", Description: p.Detail, status: p.Status, cause: err}
		if p.Status == http.StatusInternalServerError {
			told.Code = "server_error"
		}
	}
	x.outcome = told.Code
	if told.status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", `Basic realm="patchlane", charset="UTF-8"`)
	}
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	x.reply(told.status, append(body, '\n'))
	return nil
}

// tokenKeys answers GET /.well-known/jwks.json.
func (s *Server) tokenKeys(ctx context.Context, x *exchange) error {
	body, err := s.opt.Tokens.JWKS(ctx)
	if err != nil {
		return err
	}
	// As long as a new key waits before it signs.
	x.w.Header().Set("Cache-Control", "public, max-age=15")
	x.send(http.StatusOK, "application/jwk-set+json", body)
	return nil
}
