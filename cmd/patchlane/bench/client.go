package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// requestTimeout is how long one try may take; a waited look-up takes up
	// to waitSeconds of it.
	requestTimeout = 40 * time.Second
	waitSeconds    = "25"
	// giveUp is how long a request is repeated before its fate stays unknown.
	giveUp = 2 * time.Minute
	// firstPause and longestPause bound the wait before a repetition of which
	// the server did not say when.
	firstPause   = 50 * time.Millisecond
	longestPause = 5 * time.Second
	// maxAnswer bounds an answer; a page of large contacts is far below.
	maxAnswer = 32 << 20
)

// client speaks HTTP to the API.
type client struct {
	base, key string
	http      *http.Client
	transport *http.Transport
}

// newClient keeps a connection for every request that can be under way.
func newClient(c Command) *client {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConns:          0,
		MaxIdleConnsPerHost:   c.Concurrency + readers,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: requestTimeout,
		TLSHandshakeTimeout:   10 * time.Second,
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
	return &client{base: c.URL, key: c.Key, transport: t, http: &http.Client{Transport: t, Timeout: requestTimeout}}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// request is one exchange; it may be repeated as it is.
type request struct {
	method, path string
	body         any
	// key is the Idempotency-Key; empty: none.
	key string
	// prefer is the Prefer header; empty: none.
	prefer string
}

// refusal is an answer that repeating does not change.
type refusal struct {
	Status int
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Error says what was answered.
func (r *refusal) Error() string {
	return fmt.Sprintf("answered %d %s: %s", r.Status, r.Code, r.Detail)
}

// answerError is an answer that says "later" or leaves the fate open.
type answerError struct {
	status int
	after  time.Duration
}

// Error says what was answered.
func (e *answerError) Error() string { return "answered " + strconv.Itoa(e.status) }

// do sends a request until an answer settles it and decodes that into out. A
// 429, a 5xx and a cut connection are repeated, with the same key; how often is
// the second result.
func (c *client) do(ctx context.Context, q request, out any) (repeats int, err error) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	body, err := json.Marshal(q.body)
	if err != nil {
		return 0, fmt.Errorf("encode body: %w", err)
	}
	wait := firstPause
	for ; ; repeats++ {
		err := c.try(ctx, q, body, out)
		if final := (*refusal)(nil); err == nil || errors.As(err, &final) {
			return repeats, err
		}
		delay := wait
		if later := (*answerError)(nil); errors.As(err, &later) && later.after > 0 {
			delay = later.after
		} else {
			wait = min(2*wait, longestPause)
		}
		if !pause(ctx, delay) {
			return repeats, fmt.Errorf("gave up: %w", err)
		}
	}
}

// try sends a request once.
func (c *client) try(ctx context.Context, q request, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, q.method, c.base+q.path, nil)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	if q.body != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("User-Agent", "patchlane-bench")
	if q.key != "" {
		req.Header.Set("Idempotency-Key", q.key)
	}
	if q.prefer != "" {
		req.Header.Set("Prefer", q.prefer)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return understand(res, answer, out)
}

// understand sorts an answer: a success is decoded, what may change is an
// answerError, the rest a refusal.
func understand(res *http.Response, answer []byte, out any) error {
	switch s := res.StatusCode; {
	case s >= 200 && s < 300:
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		return nil
	case s == http.StatusTooManyRequests || s >= 500:
		return &answerError{status: s, after: retryAfter(res.Header.Get("Retry-After"))}
	default:
		r := &refusal{}
		_ = json.Unmarshal(answer, r) // an answer that is no problem document has a status all the same
		r.Status = s
		return r
	}
}

// retryAfter reads a Retry-After in seconds or as a date; 0: it says nothing.
func retryAfter(v string) time.Duration {
	if seconds, err := strconv.ParseFloat(v, 64); err == nil {
		return min(time.Duration(seconds*float64(time.Second)), time.Minute)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(time.Until(at), time.Minute)
	}
	return 0
}
