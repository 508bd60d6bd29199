package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"patchlane/tasks/contact"
)

const (
	// maxBody is the size of a create or patch, maxBatch that of a batch.
	maxBody  = 1 << 20
	maxBatch = 5 << 20
	// bodyTime is how long a client may take to send a body. It is flat: a
	// body that trickles in is cut off however steadily it trickles.
	bodyTime = 15 * time.Second
	// skipTime is how long net/http may take to skip over a body that nobody
	// read before it sends the answer.
	skipTime = time.Second
	// freeBody is how much of a body is read without asking; bodyMemory bounds
	// what is beyond, of all requests of the process together.
	freeBody   = 4 << 10
	bodyMemory = 128 << 20
)

// errSlowBody is a body that did not arrive in time.
var errSlowBody = errors.New("body did not arrive in time")

// readBody reads the whole body of a request that has one, after its headers
// were found good. An absent body is empty and not an error.
func (x *exchange) readBody(limit int64) ([]byte, error) {
	if x.Body == nil || x.Body == http.NoBody || x.ContentLength == 0 {
		return nil, nil
	}
	if err := checkEncoding(x.Header); err != nil {
		return nil, err
	}
	if err := checkMediaType(x.Header); err != nil {
		return nil, err
	}
	if x.ContentLength > limit {
		x.w.Header().Set("Connection", "close")
		return nil, tooLarge(limit)
	}
	body, err := x.drain(limit)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	return body, nil
}

// limitBodyTime sets the deadline of the body before anybody looks at it, so
// that it holds for a body that nobody reads too: net/http skips over such a
// body after the answer. It starts the next request with a new deadline.
func limitBodyTime(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		// Only a connection has deadlines; a recorder in a test has none.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
}

// skipBody shortens the time of a body that was not read to its end.
func (x *exchange) skipBody() {
	if !x.bodyRead && x.Body != nil && x.Body != http.NoBody {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(skipTime))
	}
}

// drain reads the body, and lifts its deadline once it is there: one that
// passes later would cut off a request that waits.
func (x *exchange) drain(limit int64) ([]byte, error) {
	reader := http.MaxBytesReader(x.w, x.Body, limit)
	room := freeBody
	if x.ContentLength > 0 {
		room = min(room, int(x.ContentLength))
	}
	body := make([]byte, 0, room)
	for {
		n, err := reader.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) || (x.ContentLength > 0 && int64(len(body)) == x.ContentLength) {
			break
		}
		if err == nil && len(body) == cap(body) {
			body, err = x.widen(body, limit)
		}
		if err != nil {
			return nil, err
		}
	}
	if int64(len(body)) < x.ContentLength {
		return nil, io.ErrUnexpectedEOF
	}
	x.bodyRead = true
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return body, nil
}

// widen doubles the room of a body, as far as the bodies of all requests leave
// any: memory is taken for what has arrived and not for what was announced.
func (x *exchange) widen(body []byte, limit int64) ([]byte, error) {
	most := limit + 1 // one byte more, so that the end is seen
	if x.ContentLength > 0 {
		most = x.ContentLength
	}
	more := min(int64(cap(body)), most-int64(cap(body)))
	if err := x.hold(more); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, int64(cap(body))+more), body...), nil
}

// hold takes memory for the body until the request is answered.
func (x *exchange) hold(n int64) error {
	if !x.bodies.TryAcquire(n) {
		x.w.Header().Set("Connection", "close")
		return &contact.Error{Code: contact.CodeOverloaded, Message: "Too many large bodies are being read."}
	}
	x.held += n
	return nil
}

// letGo gives the memory of the body back.
func (x *exchange) letGo() { x.bodies.Release(x.held) }

// bodyError says why a body could not be read.
func bodyError(err error, limit int64) error {
	var large *http.MaxBytesError
	var told *contact.Error
	switch {
	case errors.As(err, &told):
		return err
	case errors.As(err, &large):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &contact.Error{
			Code: contact.CodeInvalidBody, Message: "The body did not arrive in time.",
			Fix: "Send the whole body without a pause.", Err: errSlowBody,
		}
	default:
		return &contact.Error{
			Code: contact.CodeInvalidBody, Message: "The body ended early or is framed wrongly.", Err: err,
		}
	}
}

func tooLarge(limit int64) error {
	message := "The body is larger than 1 MiB."
	switch limit {
	case maxBatch:
		message = "The body is larger than 5 MiB."
	case maxClick:
		message = "The body is larger than 16 KiB."
	}
	return &contact.Error{Code: contact.CodePayloadTooLarge, Message: message}
}

// checkEncoding refuses compressed bodies: nothing here unpacks them, so that
// nothing here can be made to.
func checkEncoding(h http.Header) error {
	for _, v := range h.Values("Content-Encoding") {
		if e := strings.TrimSpace(v); e != "" && !strings.EqualFold(e, "identity") {
			return &contact.Error{
				Code: contact.CodeUnsupportedEncoding, Message: "The body must not be encoded.",
			}
		}
	}
	return nil
}

// checkMediaType accepts application/json, in UTF-8.
func checkMediaType(h http.Header) error {
	values := h.Values("Content-Type")
	if len(values) == 1 {
		media, params, err := mime.ParseMediaType(values[0])
		charset, has := params["charset"]
		if err == nil && media == "application/json" && (!has || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return &contact.Error{
		Code: contact.CodeUnsupportedMedia, Message: "The Content-Type must be application/json, in UTF-8.",
	}
}
