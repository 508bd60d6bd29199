package contact

import (
	"errors"
	"time"
)

// Code is a machine-readable reason. It is the `code` of the native dialect;
// the HTTP status of a code is chosen in package api alone.
type Code string

// The codes.
const (
	CodeInvalidJSON         Code = "invalid_json"
	CodeInvalidBody         Code = "invalid_body"
	CodeValidationFailed    Code = "validation_failed"
	CodeInvalidProperties   Code = "invalid_properties"
	CodeUnauthorized        Code = "unauthorized"
	CodeInsufficientScope   Code = "insufficient_scope"
	CodeInsufficientCredits Code = "insufficient_credits"
	CodeNotFound            Code = "not_found"
	CodeMethodNotAllowed    Code = "method_not_allowed"
	CodeArchived            Code = "archived"
	CodeDuplicate           Code = "duplicate"
	// CodeInUse refuses to delete a definition that contacts still use.
	CodeInUse               Code = "in_use"
	CodeConsentLocked       Code = "consent_locked"
	CodeLimitExceeded       Code = "limit_exceeded"
	CodeAlreadyRetried      Code = "already_retried"
	CodePreconditionFailed  Code = "precondition_failed"
	CodePayloadTooLarge     Code = "payload_too_large"
	CodeUnsupportedMedia    Code = "unsupported_media_type"
	CodeUnsupportedEncoding Code = "unsupported_encoding"
	CodeKeyReused           Code = "idempotency_key_reused"
	CodeRateLimited         Code = "rate_limited"
	CodeOverloaded          Code = "overloaded"
	CodeQueueUnavailable    Code = "queue_unavailable"
	CodeStoreUnavailable    Code = "store_unavailable"
	CodeNotYetApplied       Code = "not_yet_applied"
	// CodeNotFailed refuses to retry or discard a write that did not fail.
	CodeNotFailed Code = "not_failed"
	// CodeAlreadyDecided refuses to judge a review the other way round.
	CodeAlreadyDecided Code = "already_decided"
	// CodeInternal is a bug of ours: a clean 500 without inner text.
	CodeInternal Code = "internal_error"
	// CodeUnreadable is the failure of a lane entry that no release can read.
	CodeUnreadable Code = "unreadable_entry"
	// CodeDataError is the failure of a write whose values Postgres refused.
	CodeDataError Code = "data_error"
)

// FieldError is one problem of a body.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is an error that a client may see. Message and Fields are written for
// clients and hold no value of a contact; Err is for logs and is never shown.
type Error struct {
	Code    Code
	Message string
	// Fix is one sentence: what to send instead.
	Fix string
	// Fields lists every problem of a body.
	Fields []FieldError
	// RetryAfter is when to try again; zero: the caller chooses.
	RetryAfter time.Duration
	Err        error
}

// Error returns the code and the client's message.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the inner error.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, CodeInternal for
// any other error, and the empty code for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// ErrLaneHeld says that another transaction holds the lane's row: whoever got
// it leaves the lane to that transaction's owner.
var ErrLaneHeld = errors.New("lane is held by another transaction")

// ErrFenced says that the lane's offset moved while a batch was applied: the
// transaction was rolled back, somebody else owns the lane.
var ErrFenced = errors.New("lane offset moved under the batch")

// DataError says that the values of a batch were refused by the store: some
// entry of the batch is bad, and the same batch will be refused again. A batch
// of one entry names the bad one.
type DataError struct {
	// Code is what the failed write is to be recorded with.
	Code Code
	Err  error
}

// Error returns the code and the inner error.
func (e *DataError) Error() string { return string(e.Code) + ": " + e.Err.Error() }

// Unwrap returns the inner error.
func (e *DataError) Unwrap() error { return e.Err }
