package signature

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Answer is what a provider is told. Which code loses an event for good is
// different for each of them, so that the codes belong to the provider and not
// to the handler.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// answers is the row of one provider. None of them is ever 410, which ends a
// Standard Webhooks endpoint for good.
type answers struct {
	// refused is told to whoever could not prove to be the provider.
	refused int
	// overloaded makes the provider come back.
	overloaded int
	// tooLarge is told about a body above MaxBody.
	tooLarge int
	// contentType and body of a success; empty for most.
	contentType, body string
}

// answersOf is the table of the providers.
func answersOf(p Provider) answers {
	common := answers{
		refused: http.StatusUnauthorized, overloaded: http.StatusServiceUnavailable,
		tooLarge: http.StatusRequestEntityTooLarge,
	}
	switch p {
	case Twilio:
		// An empty TwiML document says that there is nothing to reply. A 503
		// goes on to the fallback URL.
		common.refused = http.StatusForbidden
		common.contentType, common.body = "text/xml", "<Response/>"
	case Plivo:
		common.refused = http.StatusForbidden
	case SES:
		// SNS takes every 4xx for delivered: right for a forgery, and the
		// loss of the event for anything else.
		common.refused = http.StatusForbidden
	case Mailgun:
		// Everything but 200 and 406 is sent again for eight hours.
		common.refused, common.tooLarge = http.StatusNotAcceptable, http.StatusNotAcceptable
	case Brevo:
		// Everything but 429 and a timeout discards the event.
		common.overloaded = http.StatusTooManyRequests
	default:
	}
	return common
}

// Accepted is the answer to what is durable now: events, duplicates, what
// changes nothing, what was quarantined, and challenges.
func Accepted(p Provider) Answer {
	row := answersOf(p)
	a := Answer{Status: http.StatusOK, Header: http.Header{}, Body: []byte(row.body)}
	if row.contentType != "" {
		a.Header.Set("Content-Type", row.contentType)
	}
	return a
}

// Overloaded is the answer while an event cannot be made durable.
func Overloaded(p Provider, retryAfter time.Duration) Answer {
	seconds := max(1, int64((retryAfter+time.Second-1)/time.Second))
	return Answer{
		Status: answersOf(p).overloaded,
		Header: http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}},
	}
}

// Refused is the answer to an error of Verify.
func Refused(p Provider, err error) Answer {
	if errors.Is(err, ErrUnavailable) {
		return Overloaded(p, 0)
	}
	row := answersOf(p)
	a := Answer{Status: row.refused, Header: http.Header{}}
	r, ok := errors.AsType[*RefusalError](err)
	switch {
	case !ok:
		return Overloaded(p, 0)
	case r.Reason == RefusedTooLarge:
		a.Status = row.tooLarge
	case r.Reason == RefusedMethod:
		a.Status = http.StatusMethodNotAllowed
		a.Header.Set("Allow", strings.Join(methodsOf(p), ", "))
	case r.challenge:
		a.Status = http.StatusUnauthorized
	}
	if a.Status == http.StatusUnauthorized && asksForPassword(p) {
		a.Header.Set("WWW-Authenticate", `Basic realm="webhooks", charset="UTF-8"`)
	}
	return a
}

// asksForPassword tells for whom a 401 must carry a real challenge: SNS, for
// one, sends the password of its URL only after it saw one.
func asksForPassword(p Provider) bool {
	switch p {
	case SES, Postmark, SparkPost, Brevo:
		return true
	default:
		return false
	}
}

// methodsOf returns the methods that a provider may use.
func methodsOf(p Provider) []string {
	switch p {
	case Twilio, Vonage, Plivo, MessageBird:
		return []string{http.MethodGet, http.MethodPost}
	case Mandrill:
		return []string{http.MethodHead, http.MethodPost}
	default:
		return []string{http.MethodPost}
	}
}
