package api

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"patchlane/tasks/contact"
)

// link makes an unsubscribe link and returns its path.
func (b *bench) link(t *testing.T, body string) string {
	t.Helper()
	r := b.do(t, "POST", "/v1/unsubscribe-links", body).want(t, 201, "")
	u := r.str("url")
	if r.str("data.url") != u || r.str("data.headers.List-Unsubscribe") != "<"+u+">" {
		t.Fatalf("answered %s", r.raw)
	}
	path, found := strings.CutPrefix(u, b.hooks.publicURL)
	if !found || !strings.HasPrefix(path, "/v1/unsubscribe/") {
		t.Fatalf("the link is %s", u)
	}
	return path
}

// click posts a form to a link.
func (b *bench) click(t *testing.T, path, mediaType, body string) response {
	t.Helper()
	return b.send(t, b.server, request{"POST", path, body, []string{"Content-Type: " + mediaType}, ""})
}

const (
	formType = "application/x-www-form-urlencoded"
	oneClick = "List-Unsubscribe=One-Click"
)

func TestOneClick(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"first_name":"Jane","email":"Jane.Doe@example.com","phone":"+14155552671"}`)
	path := b.link(t, `{"contact_id":"`+id+`","list":"news"}`)
	if b.link(t, `{"contact_id":"`+id+`","list":"news"}`) != path || b.link(t, `{"contact_id":"`+id+`","list":"offers"}`) == path {
		t.Error("a link does not have one URL")
	}
	for range 3 {
		r := b.send(t, b.server, request{"GET", path, "", nil, ""})
		if r.StatusCode != 200 || len(b.hooks.taken()) != 0 {
			t.Fatalf("GET answers %d and keeps %d events", r.StatusCode, len(b.hooks.taken()))
		}
	}
	b.send(t, b.server, request{"HEAD", path, "", nil, ""}).want(t, 200, "")
	for _, body := range []string{"", "List-Unsubscribe=Two-Clicks", oneClick + "&" + oneClick, "list-unsubscribe=One-Click"} {
		if r := b.click(t, path, formType, body); r.StatusCode != 400 || len(b.hooks.taken()) != 0 {
			t.Errorf("%q is answered %d", body, r.StatusCode)
		}
	}
	if r := b.click(t, path, formType, strings.Repeat("x", maxClick+1)); r.StatusCode != 413 {
		t.Errorf("a large body is answered %d", r.StatusCode)
	}
	if r := b.click(t, path, formType, oneClick); r.StatusCode != 200 || !strings.Contains(string(r.raw), "You are unsubscribed") {
		t.Fatalf("answered %d %s", r.StatusCode, r.raw)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if err := w.WriteField("List-Unsubscribe", "One-Click"); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if r := b.click(t, path, w.FormDataContentType(), form.String()); r.StatusCode != 200 {
		t.Errorf("multipart is answered %d", r.StatusCode)
	}
	events := b.hooks.taken()
	if len(events) != 2 {
		t.Fatalf("kept %d events", len(events))
	}
	e := events[0]
	if e.Address != "jane.doe@example.com" || e.Channel != contact.EmailChannel || e.Cause != contact.Unsubscribe || e.Contact.String() != id ||
		e.Source != contact.SourceUnsubscribe || string(e.Evidence) != `{"list":"news"}` {
		t.Errorf("kept %+v", e)
	}
	for _, secret := range []string{strings.TrimPrefix(path, "/v1/unsubscribe/"), "jane", "example.com"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestLinksOfArchivedContacts work, and while Postgres is away too.
func TestLinksOfArchivedContacts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"first_name":"Jane","email":"jane@example.com"}`)
	b.do(t, "DELETE", "/v1/contacts/"+id, "").want(t, 204, "")
	path := b.link(t, `{"contact_id":"`+id+`"}`)
	b.set(func() { b.storeDown = errAway })
	b.hooks.set(func() { b.hooks.storeErr, b.hooks.mirrorErr = errAway, errAway })
	if r := b.click(t, path, formType, oneClick); r.StatusCode != 200 {
		t.Errorf("answered %d", r.StatusCode)
	}
	b.hooks.set(func() { b.hooks.appendErr = errAway })
	r := b.click(t, path, formType, oneClick)
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || !strings.Contains(string(r.raw), "Please try again") {
		t.Errorf("with Redis away: %d %s", r.StatusCode, r.raw)
	}
	b.do(t, "POST", "/v1/unsubscribe-links", `{"contact_id":"`+id+`"}`).want(t, 503, contact.CodeStoreUnavailable)
}

func TestLinksForAddresses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.link(t, `{"channel":"sms","address":"+41 79 123 45 67"}`)
	if r := b.click(t, path, formType, oneClick); r.StatusCode != 200 {
		t.Fatalf("answered %d", r.StatusCode)
	}
	if got := b.hooks.standing(b.key.Account, contact.SMSChannel, "+41791234567"); got != "unsubscribe" {
		t.Errorf("the number is %q", got)
	}
}

func TestLinkProblems(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bare := b.create(t, `{"first_name":"Jane"}`)
	for _, body := range []string{
		`{}`, `{"contact_id":"x"}`, `{"contact_id":"` + bare + `","address":"a@example.com"}`, `{"contact_id":"` + bare + `"}`,
		`{"address":"nobody"}`, `{"address":"a@example.com","channel":"fax"}`, `{"contact_id":"` + bare + `","x":1}`,
		`{"address":"a@example.com","list":"` + strings.Repeat("x", 101) + `"}`, `{"address":"a@example.com","list":"a\nb"}`,
	} {
		b.do(t, "POST", "/v1/unsubscribe-links", body).want(t, 400, contact.CodeValidationFailed)
	}
	b.do(t, "POST", "/v1/unsubscribe-links", `{"contact_id":"`+uuid.NewString()+`"}`).want(t, 404, contact.CodeNotFound)
	b.hooks.set(func() { b.hooks.keyErr = errAway })
	b.send(t, b.newServerAlone(t), request{"POST", "/v1/unsubscribe-links", `{"address":"a@example.com"}`, nil, secret}).
		want(t, 503, contact.CodeStoreUnavailable)
}

// TestForgedLinks: every byte of a token counts.
func TestForgedLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.link(t, `{"address":"jane@example.com"}`)
	token, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(path, "/v1/unsubscribe/"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(token, []byte("jane")) {
		t.Error("the address can be read out of the link")
	}
	for i := range token {
		bad := bytes.Clone(token)
		bad[i] ^= 0x40
		r := b.click(t, "/v1/unsubscribe/"+base64.RawURLEncoding.EncodeToString(bad), formType, oneClick)
		if r.StatusCode != 404 {
			t.Fatalf("byte %d changed: %d", i, r.StatusCode)
		}
	}
	for _, bad := range []string{"x", "AAAA", base64.RawURLEncoding.EncodeToString(token[:16]), base64.RawURLEncoding.EncodeToString(make([]byte, 60))} {
		if r := b.send(t, b.server, request{"GET", "/v1/unsubscribe/" + bad, "", nil, ""}); r.StatusCode != 404 {
			t.Errorf("%s: %d", bad, r.StatusCode)
		}
	}
	if len(b.hooks.taken()) != 0 {
		t.Error("an event was kept")
	}
	other := newHookWorld()
	other.key = bytes.Repeat([]byte{1}, 32)
	o := b.options(b.reg)
	o.Optouts, o.Registerer = other.options(), prometheus.NewRegistry()
	if r := b.send(t, newServerWith(t, o), request{"POST", path, oneClick, []string{"Content-Type: " + formType}, ""}); r.StatusCode != 404 {
		t.Errorf("with another key: %d", r.StatusCode)
	}
	if _, err := newSealer(make([]byte, 31)); err == nil {
		t.Error("a short key is taken")
	}
}

// TestThePage is held against what a browser and a screen reader need, and its
// button is pressed by a real client.
func TestThePage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	srv := httptest.NewServer(b.server.Handler())
	defer srv.Close()
	client := srv.Client()
	page := get(t, client, srv.URL+b.link(t, `{"address":"jane.doe@example.com","list":"<script>alert(1)</script>"}`))
	checkPage(t, page)
	form := element(page.doc, "form")
	if attribute(form, "method") != "post" || attribute(form, "action") != "" {
		t.Errorf("the form is %v", form.Attr)
	}
	values := url.Values{}
	for _, in := range elements(form, "input") {
		values.Set(attribute(in, "name"), attribute(in, "value"))
	}
	if buttons := elements(page.doc, "button"); len(buttons) != 1 || strings.TrimSpace(content(buttons[0])) != "Unsubscribe" {
		t.Errorf("%d buttons", len(buttons))
	}
	if len(b.hooks.taken()) != 0 {
		t.Fatal("showing the page kept an event")
	}
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page.url, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", formType)
	done := fetch(t, client, post)
	checkPage(t, done)
	if len(b.hooks.taken()) != 1 || len(elements(done.doc, "form")) != 0 {
		t.Errorf("kept %d events", len(b.hooks.taken()))
	}
	client.CloseIdleConnections()
}

// shownPage is a page as it was read.
type shownPage struct {
	url    string
	doc    *html.Node
	header http.Header
	raw    string
}

func get(t *testing.T, client *http.Client, u string) shownPage {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fetch(t, client, r)
}

// fetch sends a request and reads the page that answers it.
func fetch(t *testing.T, client *http.Client, q *http.Request) shownPage {
	t.Helper()
	r, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	raw, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", r.StatusCode, err)
	}
	doc, err := html.Parse(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return shownPage{q.URL.String(), doc, r.Header, string(raw)}
}

// checkPage checks what every page of ours has to be.
func checkPage(t *testing.T, p shownPage) {
	t.Helper()
	policy := p.header.Get("Content-Security-Policy")
	style := content(element(p.doc, "style"))
	if style != unsubscribeCSS || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"X-Robots-Tag": "noindex, nofollow", "Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY",
	} {
		if p.header.Get(name) != want {
			t.Errorf("%s is %q", name, p.header.Get(name))
		}
	}
	if attribute(element(p.doc, "html"), "lang") != "en" || content(element(p.doc, "title")) == "" {
		t.Error("the page has no language or no title")
	}
	if len(elements(p.doc, "main")) != 1 || len(elements(p.doc, "h1")) != 1 {
		t.Error("the page has no main part or no heading")
	}
	for _, tag := range []string{"script", "img", "link", "iframe", "a"} {
		if len(elements(p.doc, tag)) > 0 {
			t.Errorf("the page has a %s", tag)
		}
	}
	if strings.Contains(p.raw, "jane.doe") || !strings.Contains(p.raw, "j•••@example.com") {
		t.Errorf("the address is shown whole, or not at all:\n%s", p.raw)
	}
	if !strings.Contains(p.raw, `content="width=device-width, initial-scale=1"`) {
		t.Error("the page does not fit a phone")
	}
}

// elements returns the elements of a name.
func elements(n *html.Node, tag string) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == tag {
			found = append(found, d)
		}
	}
	return found
}

func element(n *html.Node, tag string) *html.Node {
	if found := elements(n, tag); len(found) > 0 {
		return found[0]
	}
	return &html.Node{}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// content is the text in an element.
func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func FuzzDecodeLink(f *testing.F) {
	l := link{account: uuid.New(), channel: contact.EmailChannel, list: "news", address: "jane@example.com"}
	f.Add(l.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLink(b)
		if err == nil && !bytes.Equal(l.encode(), b) {
			t.Fatalf("%x is read as %+v", b, l)
		}
	})
}
