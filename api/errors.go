package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// answer is how one code is answered.
type answer struct {
	status int
	title  string
	// fix is what to send instead, unless the error says it better.
	fix string
	// retryAfter is the pause of a 429 or 503, unless the error names one.
	retryAfter time.Duration
}

// answers maps every code to its answer. This is the only place where the
// status of an error is chosen.
func answers() map[contact.Code]answer {
	return map[contact.Code]answer{
		contact.CodeInvalidJSON:       {400, "Invalid JSON", "Send one JSON object, encoded in UTF-8, with nothing after it.", 0},
		contact.CodeInvalidBody:       {400, "Invalid body", "Send one JSON object of the documented form.", 0},
		contact.CodeValidationFailed:  {400, "Validation failed", "Correct every member that errors names and send the request again.", 0},
		contact.CodeInvalidProperties: {400, "Invalid properties", "Ask only for properties that exist.", 0},
		contact.CodeDataError:         {400, "Value cannot be stored", "Correct the values of the body and send it as a new write.", 0},
		contact.CodeUnauthorized:      {401, "Unauthorized", "Send a valid key as Authorization: Bearer <key>.", 0},
		contact.CodeInsufficientScope: {403, "Insufficient scope", "Use a key that has the scope named in detail.", 0},
		contact.CodeInsufficientCredits: {
			403, "Insufficient credits", "Buy credits, then send the request again.", 0,
		},
		contact.CodeNotFound:           {404, "Not found", "Check the path and the id; ids belong to one account.", 0},
		contact.CodeMethodNotAllowed:   {405, "Method not allowed", "Use one of the methods named in the Allow header.", 0},
		contact.CodeArchived:           {409, "Contact is archived", "Restore the contact first.", 0},
		contact.CodeDuplicate:          {409, "Duplicate", "Use a value that no other active contact has.", 0},
		contact.CodeInUse:              {409, "In use", "Take it off the contacts first, or delete it with ?force=true.", 0},
		contact.CodeConsentLocked:      {409, "Consent is locked", "Leave the consent members out; the account locks this opt-out.", 0},
		contact.CodeLimitExceeded:      {409, "Limit exceeded", "Shorten the stored value first, by replacing it.", 0},
		contact.CodeAlreadyRetried:     {409, "Already retried", "Follow retried_as of the write.", 0},
		contact.CodeAlreadyDecided:     {409, "Already decided", "A review is judged once; change the suppression instead.", 0},
		contact.CodeNotFailed:          {409, "Write has not failed", "Retry and discard are for failed writes alone.", 0},
		contact.CodePreconditionFailed: {412, "Precondition failed", "Read the contact, then send If-Match with its version.", 0},
		contact.CodePayloadTooLarge:    {413, "Payload too large", "Send a smaller body, or several.", 0},
		contact.CodeUnsupportedMedia:   {415, "Unsupported media type", "Send Content-Type: application/json.", 0},
		contact.CodeUnsupportedEncoding: {
			415, "Unsupported encoding", "Send the body without Content-Encoding.", 0,
		},
		contact.CodeKeyReused:        {422, "Idempotency key reused", "Send a new Idempotency-Key for a new body.", 0},
		contact.CodeUnreadable:       {422, "Unreadable entry", "Send the change as a new write and discard this one.", 0},
		contact.CodeRateLimited:      {429, "Rate limited", "Wait as long as Retry-After says.", time.Second},
		contact.CodeInternal:         {500, "Internal error", "Send the request again with the same Idempotency-Key; report request_id if it persists.", 0},
		contact.CodeOverloaded:       {503, "Overloaded", "Wait as long as Retry-After says, then send the request again.", time.Second},
		contact.CodeQueueUnavailable: {503, "Queue unavailable", "Send the request again with the same Idempotency-Key.", time.Second},
		contact.CodeStoreUnavailable: {503, "Store unavailable", "Send the request again after the pause.", time.Second},
		contact.CodeNotYetApplied:    {504, "Not yet applied", "Ask again, or follow the write at /v1/writes/{id}.", 0},
	}
}

// statusRequestTimeout answers a body that came too slowly; it has no code of
// its own in the contract and is told as invalid_body.
const statusRequestTimeout = http.StatusRequestTimeout

// problem turns an error into what the client sees and the Retry-After of it.
// The text of an inner error never leaves: only what a contact.Error says.
func (s *Server) problem(err error, requestID string) (*dialect.Problem, time.Duration) {
	var e *contact.Error
	if !errors.As(err, &e) {
		e = &contact.Error{Code: contact.CodeInternal, Err: err}
	}
	a, known := s.answers[e.Code]
	if !known {
		e = &contact.Error{Code: contact.CodeInternal, Err: err}
		a = s.answers[e.Code]
	}
	p := &dialect.Problem{
		Status: a.status, Code: e.Code, Title: a.title,
		Detail: e.Message, Fix: e.Fix, Fields: e.Fields, RequestID: requestID,
	}
	if p.Detail == "" {
		p.Detail = a.title + "."
	}
	if p.Fix == "" {
		p.Fix = a.fix
	}
	if errors.Is(err, errSlowBody) {
		p.Status = statusRequestTimeout
	}
	pause := a.retryAfter
	if pause > 0 && e.RetryAfter > 0 {
		pause = e.RetryAfter
	}
	return p, pause
}

// retryAfter writes a pause in whole seconds, at least one.
func retryAfter(pause time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(pause.Seconds()))))
}

// storeError makes the error of a store call answerable: what the store itself
// says to clients stands, anything else means that it could not be asked.
func storeError(err error) error {
	return unavailableUnlessTold(err, contact.CodeStoreUnavailable, "The store cannot be asked at the moment.")
}

// queueError is storeError for the lanes.
func queueError(err error) error {
	return unavailableUnlessTold(err, contact.CodeQueueUnavailable,
		"The queue did not acknowledge the write; whether it was accepted is unknown.")
}

func unavailableUnlessTold(err error, code contact.Code, message string) error {
	var told *contact.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &contact.Error{Code: code, Message: message, Err: err}
}

// unavailable tells an outage from an answer.
func unavailable(err error) bool {
	switch contact.CodeOf(err) {
	case contact.CodeStoreUnavailable, contact.CodeQueueUnavailable, contact.CodeInternal:
		return true
	default:
		return false
	}
}

// invalid is a validation_failed with its problems, as many as are told.
func invalid(fields []contact.FieldError) error {
	fields = fields[:min(len(fields), dialect.MaxProblems)]
	return &contact.Error{
		Code:    contact.CodeValidationFailed,
		Message: "The request has " + problemCount(len(fields)) + ".",
		Fields:  fields,
	}
}

// notDefined is a validation_failed of names that the account has not defined, or
// of values that do not fit their definitions.
func notDefined(fields []contact.FieldError) error {
	return &contact.Error{
		Code: contact.CodeValidationFailed, Message: "The request has " + problemCount(len(fields)) + ".",
		Fix:    "Define tags and custom fields first, at /v1/tags and /v1/custom-fields, and send values of their types.",
		Fields: fields,
	}
}

func problemCount(n int) string {
	if n == 1 {
		return "one problem"
	}
	return strconv.Itoa(n) + " problems"
}

// notFound is the answer for whatever is not there or not the caller's.
func notFound(what string) error {
	return &contact.Error{Code: contact.CodeNotFound, Message: "There is no such " + what + "."}
}

// gone tells whether the client has hung up, so that an error is no fault.
func gone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
