package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/api/signature"
	"patchlane/tasks/contact"
)

// maxClick bounds the body of a click.
const maxClick = 16 << 10

// createLink makes an unsubscribe link for a contact, or for an address.
func (s *Server) createLink(ctx context.Context, x *exchange) error {
	raw, err := x.readBody(maxBody)
	if err != nil {
		return err
	}
	body, problems, err := dialect.DecodeLink(raw)
	if err != nil {
		return err
	}
	l, err := s.linkFor(ctx, x, &body, problems)
	if err != nil {
		return err
	}
	keys, err := s.optouts.links.get(ctx)
	if err != nil {
		return err
	}
	answer, err := dialect.EncodeLink(&dialect.LinkView{
		URL:     s.publicURL(x) + "/v1/unsubscribe/" + keys.seal(&l),
		Contact: l.contact, Channel: l.channel, List: l.list,
	})
	if err != nil {
		return err
	}
	x.reply(http.StatusCreated, answer)
	return nil
}

// linkFor checks what a link is asked for and finds the address of a contact.
func (s *Server) linkFor(
	ctx context.Context, x *exchange, body *dialect.LinkBody, problems []contact.FieldError,
) (link, error) {
	l := link{account: x.account(), channel: contact.EmailChannel}
	if body.Channel != nil {
		l.channel, problems = channelIn(problems, *body.Channel)
	}
	if body.List != nil {
		if l.list = *body.List; len(l.list) > maxList || !printable(l.list) {
			problems = append(problems, contact.FieldError{
				Field: "list", Code: contact.ProblemInvalidFormat, Message: "The list must be a name of at most 100 printable bytes.",
			})
		}
	}
	if problems = l.meant(body, problems); len(problems) > 0 {
		return link{}, invalid(problems)
	}
	if l.contact == uuid.Nil {
		return l, nil
	}
	return s.addressed(ctx, x, l)
}

// meant reads for whom a link is: a contact, or an address.
func (l *link) meant(body *dialect.LinkBody, problems []contact.FieldError) []contact.FieldError {
	bad := func(field, code, message string) {
		problems = append(problems, contact.FieldError{Field: field, Code: code, Message: message})
	}
	switch {
	case body.ContactID != nil && body.Address != nil:
		bad("address", contact.ProblemConflict, "Send contact_id or address, not both.")
	case body.ContactID != nil:
		id, err := dialect.ParseID(*body.ContactID)
		if l.contact = id; err != nil || id == uuid.Nil {
			bad("contact_id", contact.ProblemInvalidFormat, "The value must be the id of a contact.")
		}
	case body.Address != nil:
		keys := addressKeys(l.channel, *body.Address)
		if len(keys) == 0 {
			bad("address", contact.ProblemInvalidFormat, "The value cannot be an address of the channel.")
			break
		}
		l.address = keys[0]
	case len(problems) == 0:
		bad("contact_id", contact.ProblemRequired, "Say for whom: contact_id, or address.")
	}
	return problems
}

// addressed adds to a link the address that the contact has now. Archived
// contacts have theirs too.
func (s *Server) addressed(ctx context.Context, x *exchange, l link) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c, err := s.opt.Contacts.Contact(ctx, x.ref(l.contact))
	if err != nil {
		return link{}, storeError(err)
	}
	address, ok := c.Address(l.channel)
	if !ok {
		return link{}, invalid([]contact.FieldError{{
			Field: "contact_id", Code: contact.ProblemInvalidFormat, Message: "The contact has no address of the channel " + l.channel.String() + ".",
		}})
	}
	l.address = address.Key
	return l, nil
}

// printable tells whether a name may stand in a page and in evidence.
func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

// addressKeys returns the compared forms of an address as a client spells it;
// none: it cannot be one.
func addressKeys(channel contact.Channel, raw string) []string {
	if channel == contact.SMSChannel {
		return contact.PhoneKeys(raw)
	}
	if key, ok := signature.EmailKey(raw); ok {
		return []string{key}
	}
	return nil
}

// showUnsubscribe shows the page of a link. It changes nothing: scanners of
// mail follow every link that they find.
func (s *Server) showUnsubscribe(ctx context.Context, x *exchange) error {
	l, err := s.openLink(ctx, x)
	if err != nil {
		return s.linkProblem(x, err)
	}
	return x.page(http.StatusOK, askPage(&l))
}

// unsubscribe opts the address of a link out, at once (RFC 8058).
func (s *Server) unsubscribe(ctx context.Context, x *exchange) error {
	l, err := s.openLink(ctx, x)
	if err != nil {
		return s.linkProblem(x, err)
	}
	leave, ok := s.optouts.intakes.enter(ctx, linkPlace(&l), maxClick)
	if !ok {
		return s.linkProblem(x, &contact.Error{Code: contact.CodeOverloaded, Message: "Too many requests for one link."})
	}
	defer leave()
	asked, err := x.readClick()
	if err != nil {
		return s.linkProblem(x, err)
	}
	if !asked {
		return x.page(http.StatusBadRequest, askPage(&l))
	}
	e, err := s.click(x, &l)
	if err != nil {
		return err
	}
	if err := s.keepEvents(ctx, []*contact.Event{e}); err != nil {
		return s.linkProblem(x, err)
	}
	s.optouts.metrics.clicks.Inc()
	x.outcome = "unsubscribed"
	return x.page(http.StatusOK, donePage(&l))
}

// linkPlace names a link among the intakes.
func linkPlace(l *link) uuid.UUID { return uuid.NewSHA1(l.account, l.encode()) }

// click is the event of a link that was used.
func (s *Server) click(x *exchange, l *link) (*contact.Event, error) {
	e := &contact.Event{
		Account: l.account, Contact: l.contact, Channel: l.channel, Address: l.address,
		Action: contact.OptOut, Cause: contact.Unsubscribe, Reason: contact.Unsubscribe.String(),
		Type: "one_click", Source: contact.SourceUnsubscribe, TraceParent: x.traceParent(),
	}
	if l.list != "" {
		evidence, err := json.Marshal(map[string]string{"list": l.list})
		if err != nil {
			return nil, fmt.Errorf("write evidence: %w", err)
		}
		e.Evidence = evidence
	}
	if err := e.Mint(s.now(), s.opt.Lanes.Address); err != nil {
		return nil, fmt.Errorf("mint event: %w", err)
	}
	return e, nil
}

// openLink reads the token of the path.
func (s *Server) openLink(ctx context.Context, x *exchange) (link, error) {
	keys, err := s.optouts.links.get(ctx)
	if err != nil {
		return link{}, err
	}
	return keys.open(x.PathValue("token"))
}

// linkProblem answers a person: with a page.
func (s *Server) linkProblem(x *exchange, err error) error {
	if errors.Is(err, errLink) {
		x.outcome = "unknown_link"
		return x.page(http.StatusNotFound, unknownPage())
	}
	p, pause := s.problem(err, x.id)
	x.failure, x.outcome = err, string(p.Code)
	if pause > 0 {
		x.w.Header().Set("Retry-After", retryAfter(pause))
	}
	return x.page(p.Status, laterPage())
}

// readClick tells whether the body says List-Unsubscribe=One-Click, as a form
// of either kind.
func (x *exchange) readClick() (bool, error) {
	if x.Body == nil || x.Body == http.NoBody || x.ContentLength == 0 {
		return false, nil
	}
	if x.ContentLength > maxClick {
		x.w.Header().Set("Connection", "close")
		return false, tooLarge(maxClick)
	}
	body, err := x.drain(maxClick)
	if err != nil {
		return false, bodyError(err, maxClick)
	}
	media, params, _ := mime.ParseMediaType(x.Header.Get("Content-Type"))
	if media == "multipart/form-data" {
		form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(maxClick)
		if err != nil {
			return false, nil //nolint:nilerr // a form that cannot be read asks for nothing
		}
		return isClick(form.Value), nil
	}
	form, err := url.ParseQuery(string(body))
	return err == nil && isClick(form), nil
}

func isClick(form url.Values) bool {
	values := form["List-Unsubscribe"]
	return len(values) == 1 && values[0] == "One-Click"
}
