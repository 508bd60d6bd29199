package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// demoClient speaks to the API as anybody would.
type demoClient struct {
	http     *http.Client
	url, key string
}

func newDemoClient(key string) *demoClient {
	return &demoClient{key: key, http: &http.Client{
		Timeout:   40 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}}
}

// reply is an answer with the members that the demo looks at.
type reply struct {
	Status int         `json:"-"`
	Header http.Header `json:"-"`
	Data   struct {
		WriteID   string  `json:"write_id"`
		ContactID string  `json:"contact_id"`
		State     string  `json:"state"`
		ID        string  `json:"id"`
		Notes     *string `json:"notes"`
		Version   int64   `json:"version"`
	} `json:"data"`
	Meta struct {
		WriteID string   `json:"write_id"`
		State   string   `json:"state"`
		Version int64    `json:"version"`
		Changes []change `json:"changes"`
	} `json:"meta"`
	// The members of a problem.
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"errors"`
	raw []byte
}

// change is one changed field.
type change struct {
	Field string          `json:"field"`
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`
}

// do sends one request. Headers are name, value, name, value.
func (c *demoClient) do(ctx context.Context, method, path, body string, headers ...string) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	r := &reply{Status: res.StatusCode, Header: res.Header}
	if r.raw, err = io.ReadAll(res.Body); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if err := json.Unmarshal(r.raw, r); err != nil && res.StatusCode < 300 && len(r.raw) > 0 {
		// A list has another data; its reader decodes it by itself.
		if _, list := errors.AsType[*json.UnmarshalTypeError](err); !list {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return r, nil
}

// awaitReady waits until a process says that it is ready.
func (c *demoClient) awaitReady(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	wait := backOff{wait: firstWait / 4, most: firstWait}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		res, err := c.http.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("readyz: %s", res.Status)
		}
		if !wait.pause(ctx) {
			return fmt.Errorf("%s is not ready: %w", base, err)
		}
	}
}
