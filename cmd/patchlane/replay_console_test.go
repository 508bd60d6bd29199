package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// operator is a browser without scripts on the console.
type operator struct {
	*site
	client *http.Client
	ops    string
}

func (s *site) operator(a *node) *operator {
	s.tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	return &operator{site: s, client: &http.Client{Jar: jar, Transport: s.http.Transport, Timeout: time.Minute}, ops: a.Ops}
}

// page asks for a page, or posts a form, and returns where it came to and what
// stands there.
func (o *operator) page(path string, form url.Values) (at, body string) {
	o.tb.Helper()
	method, sent := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, sent = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(o.tb.Context(), method, o.ops+path, sent)
	if err != nil {
		o.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := o.client.Do(req)
	if err != nil {
		o.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		o.tb.Fatalf("%s: %d %v %s", path, res.StatusCode, err, text)
	}
	return res.Request.URL.Path, string(text)
}

// found returns the first group of a pattern.
func found(pattern, text string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return strings.ReplaceAll(m[1], "&amp;", "&")
	}
	return ""
}

// replayFromConsole lists, filters, previews and retries all by the console.
func (s *site) replayFromConsole(contacts, each int) rates {
	s.tb.Helper()
	a, paths := s.failMany(contacts, each)
	all, r, o := contacts*each, rates{}, s.operator(a)
	r.timed("listed", func() int {
		listed := 0
		for path := "/ops/failed"; path != ""; {
			_, body := o.page(path, nil)
			listed += strings.Count(body, `name="id"`)
			path = found(`<a href="([^"]+)" rel="next"`, body)
		}
		if listed != all {
			s.tb.Errorf("listed %d of %d", listed, all)
		}
		return listed
	})
	id := strings.TrimPrefix(paths[0], "/v1/contacts/")
	if _, body := o.page("/ops/failed?contact="+id+"&since=1h&code=archived", nil); !strings.Contains(body, fmt.Sprintf("<strong>%d</strong> failed writes of %d", each, all)) {
		s.tb.Errorf("filtered: %.2000s", body)
	}
	_, confirm := o.page("/ops/failed/retry", nil)
	if !strings.Contains(confirm, fmt.Sprintf("Retry %d in their order", all)) || !strings.Contains(confirm, fmt.Sprintf("The first %d were played", min(all, 500))) {
		s.tb.Errorf("preview: %.2000s", confirm)
	}
	form := url.Values{"form": {found(`name="form" value="([^"]+)"`, confirm)}, "all": {"1"}}
	r.timed("applied", func() int {
		r.timed("retried", func() int {
			job, body := o.page("/ops/failed/retry", form)
			s.eventually(5*time.Minute, "the replay", func() error {
				if _, body = o.page(job, nil); !strings.Contains(body, fmt.Sprintf("%d of %d", all, all)) || strings.Contains(body, "under way") {
					return fmt.Errorf("%.3000s", body)
				}
				return nil
			})
			return all
		})
		s.inOrder(a, paths, each)
		return all
	})
	return r
}
