package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page is part of the binary
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"

	"patchlane/tasks/contact"
)

//go:embed unsubscribe.html
var unsubscribeHTML string

//go:embed unsubscribe.css
var unsubscribeCSS string

// page is what the page of an unsubscribe link shows.
type page struct {
	Title, Heading, Text string
	// Button is the text of the one button; empty: there is none.
	Button string
	// Style is ours.
	Style template.CSS
}

// pagePolicy lets the page show our own style and send its own form: no script,
// no image, no frame around it.
func pagePolicy() string {
	sum := sha256.Sum256([]byte(unsubscribeCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// page answers with a page. The address of the page is a secret of its reader,
// so nothing on it may hand it on, and nobody may keep it.
func (x *exchange) page(status int, p page) error {
	t, err := template.New("unsubscribe").Parse(unsubscribeHTML)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	p.Style = template.CSS(unsubscribeCSS) //nolint:gosec // embedded, none of it comes from a request
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	h := x.w.Header()
	h.Set("Content-Security-Policy", pagePolicy())
	h.Set("Content-Language", "en")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	x.send(status, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// messages is what a channel carries, in words.
func messages(c contact.Channel) string {
	if c == contact.SMSChannel {
		return "text messages"
	}
	return "e-mails"
}

// askPage asks before anything changes.
func askPage(l *link) page {
	return page{
		Title:   "Unsubscribe",
		Heading: "Unsubscribe",
		Text:    "Do you want to stop " + messages(l.channel) + " to " + masked(l) + "? They stop once you press the button.",
		Button:  "Unsubscribe",
	}
}

// donePage says what was done.
func donePage(l *link) page {
	return page{
		Title:   "You are unsubscribed",
		Heading: "You are unsubscribed",
		Text:    "No more " + messages(l.channel) + " will be sent to " + masked(l) + ". You can close this page.",
	}
}

// unknownPage is for a link that we did not make.
func unknownPage() page {
	return page{
		Title:   "This link does not work",
		Heading: "This link does not work",
		Text:    "It may have been cut off. Open it from the message again, or answer the message and ask to be taken off.",
	}
}

// laterPage is for an outage.
func laterPage() page {
	return page{
		Title:   "Please try again",
		Heading: "Please try again",
		Text:    "Your wish could not be kept just now. Open the link again in a minute.",
	}
}

// masked shows enough of an address to recognise one's own by.
func masked(l *link) string {
	const dots = "•••"
	if l.channel == contact.SMSChannel {
		return dots + l.address[max(0, len(l.address)-3):]
	}
	at := strings.LastIndexByte(l.address, '@')
	_, size := utf8.DecodeRuneInString(l.address)
	if at < size {
		return dots
	}
	return l.address[:size] + dots + l.address[at:]
}
