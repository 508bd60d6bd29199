package dialect

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// vendorWait is how long the vendors' PATCH waits: their documents answer 200
// with the contact as it is after the write.
const vendorWait = 10 * time.Second

// TrustPager is the dialect of TrustPager's contact API: flat bodies, answers
// in {"data", "meta"}, errors with a fix and a hint.
type TrustPager struct{ plain }

// Traits returns the prefixes of TrustPager.
func (TrustPager) Traits() Traits {
	return Traits{
		Name: "trustpager", Wait: vendorWait,
		Prefixes:    []string{"/functions/v1/api/v1"},
		Credentials: []string{"tp_live_", "tp_test_"},
		Params:      []string{"fields", "expand"},
		ReadCost:    1, WriteCost: 2,
	}
}

// Decode reads a flat body of the documented members. Those that the document
// does not offer to clear cannot be null.
func (TrustPager) Decode(kind contact.Kind, r Request) (Body, error) {
	n := reader{speaks: "trustpager", kind: kind}
	return n.read(r.Body, n.trustpagerMember)
}

func (n *reader) trustpagerMember(name string, v jsontext.Value) {
	switch name {
	case "first_name", "email", "phone", "notes":
		f, _ := textField(name)
		n.stringField(f, v)
	case "last_name", "landline", "date_of_birth":
		f, _ := textField(name)
		n.textMember(f, v)
	case "metadata", "email_unsubscribed", "sms_unsubscribed":
		n.otherMember(name, v)
	default:
		n.unknown(name)
	}
}

// CheckQuery checks ?fields=, which picks members, and ?expand=employers.
func (TrustPager) CheckQuery(q url.Values, _ Definitions) error {
	for _, name := range commaList(q, "fields") {
		if _, found := trustpagerMembers()[name]; !found {
			return invalidProperty("fields", name)
		}
	}
	for _, name := range commaList(q, "expand") {
		if name != "employers" {
			return invalidProperty("expand", name)
		}
	}
	return nil
}

// trustpagerMembers are the members that ?fields= may name.
func trustpagerMembers() map[string]bool {
	members := map[string]bool{"id": true}
	body, err := marshal(newNativeContact(&contact.Contact{}))
	if err == nil {
		_ = readEnvelope(body, func(name string, _ jsontext.Value) { members[name] = true }, new(problems))
	}
	return members
}

// commaList splits a query parameter at its commas, without blanks.
func commaList(q url.Values, name string) []string {
	var list []string
	for _, value := range q[name] {
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
	}
	return list
}

// invalidProperty refuses a name that no answer can have. The name is repeated
// shortened: it is what the client has to correct.
func invalidProperty(param, name string) error {
	return &contact.Error{
		Code:    contact.CodeInvalidProperties,
		Message: "There is no property " + printable(name) + " to be asked for.",
		Fix:     "Ask with " + param + " only for properties that the contacts of this account have.",
		Fields: []contact.FieldError{{
			Field: param, Code: contact.ProblemUnknown, Message: "There is no such property.",
		}},
	}
}

// printable makes a name that a client made up fit to be answered.
func printable(name string) string {
	return strings.ToValidUTF8(shorten(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, name)), "")
}

// trustpagerMeta stands beside every answer.
type trustpagerMeta struct {
	Credits int64 `json:"credits_remaining"`
}

// trustpagerEmployer is what ?expand=employers shows: what is known of the
// contact's work.
type trustpagerEmployer struct {
	Name     *string `json:"name"`
	JobTitle *string `json:"job_title"`
}

// trustpagerContact is the native contact and what was asked for with it.
type trustpagerContact struct {
	nativeContact
	Employers []trustpagerEmployer `json:"employers,omitzero"`
}

// trustpagerData writes a contact with the members that ?fields= names; none:
// all.
func trustpagerData(c *contact.Contact, f *Frame) (jsontext.Value, error) {
	full := trustpagerContact{nativeContact: newNativeContact(c)}
	if len(commaList(f.Query, "expand")) > 0 {
		full.Employers = []trustpagerEmployer{}
		if company, title := c.Text[contact.CompanyName], c.Text[contact.JobTitle]; company != nil {
			full.Employers = append(full.Employers, trustpagerEmployer{company, title})
		}
	}
	body, err := marshal(full)
	if err != nil {
		return nil, err
	}
	picked := commaList(f.Query, "fields")
	if len(picked) == 0 {
		return body, nil
	}
	keep := map[string]bool{"id": true, "employers": true}
	for _, name := range picked {
		keep[name] = true
	}
	var rest object
	err = readEnvelope(body, func(name string, v jsontext.Value) {
		if keep[name] {
			rest.add(name, v)
		}
	}, new(problems))
	return rest.value(), err
}

// Contact writes {"data": contact, "meta": {"credits_remaining"}}.
func (TrustPager) Contact(v View) ([]byte, error) {
	data, err := trustpagerData(v.Contact, &v.Frame)
	if err != nil {
		return nil, err
	}
	return marshal(struct {
		Data jsontext.Value `json:"data"`
		Meta trustpagerMeta `json:"meta"`
	}{data, trustpagerMeta{v.Credits}})
}

// queuedWrite is a write that has no outcome yet, for clients that look for the
// id of the contact where they always do.
type queuedWrite struct {
	ID         uuid.UUID     `json:"id"`
	WriteID    uuid.UUID     `json:"write_id"`
	ContactID  uuid.UUID     `json:"contact_id"`
	State      contact.State `json:"state"`
	AcceptedAt string        `json:"accepted_at"`
}

func newQueuedWrite(a Accepted, format func(time.Time) string) queuedWrite {
	return queuedWrite{a.Contact, a.WriteID, a.Contact, contact.Queued, format(a.AcceptedAt)}
}

// Queued writes the answer of a 202.
func (TrustPager) Queued(a Accepted) ([]byte, error) {
	return marshal(struct {
		Data queuedWrite    `json:"data"`
		Meta trustpagerMeta `json:"meta"`
	}{newQueuedWrite(a, FormatTime), trustpagerMeta{a.Credits}})
}

// trustpagerList is the envelope of every list.
type trustpagerList[T any] struct {
	Data       []T            `json:"data"`
	Pagination bothWays       `json:"pagination"`
	Meta       trustpagerMeta `json:"meta"`
}

// bothWays is a place in a list that can be left on either side.
type bothWays struct {
	pagination
	Prev *string `json:"prev_cursor"`
}

// List writes {"data": […], "pagination": {…}, "meta": {…}}.
func (TrustPager) List(p Page) ([]byte, error) {
	rows := make([]jsontext.Value, len(p.Contacts))
	for i := range p.Contacts {
		var err error
		if rows[i], err = trustpagerData(&p.Contacts[i], &p.Frame); err != nil {
			return nil, err
		}
	}
	return marshal(trustpagerList[jsontext.Value]{
		rows, bothWays{newPagination(p.Limit, p.Next), optionalText(p.Prev)}, trustpagerMeta{p.Credits},
	})
}

// Log writes the change log in the envelope of lists.
func (TrustPager) Log(p LogPage) ([]byte, error) {
	return marshal(trustpagerList[logRow]{
		logRows(p.LogPage), bothWays{newPagination(p.Limit, p.Next), nil}, trustpagerMeta{p.Credits},
	})
}

// trustpagerProblem is the documented error. Its codes are a closed set, which
// the clients switch on; the status tells those apart that share a code.
type trustpagerProblem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
	Hint    string `json:"hint"`
	Status  int    `json:"status"`
}

// Problem writes {"error": {code, message, fix, hint, status}}.
func (TrustPager) Problem(p *Problem) (body []byte, mediaType string) {
	hint := "patchlane calls this " + string(p.Code) + "."
	if p.RequestID != "" {
		hint += " The request is " + p.RequestID + "."
	}
	return answerJSON(struct {
		Error trustpagerProblem `json:"error"`
	}{trustpagerProblem{trustpagerCode(p), summary(p, p.Fields), p.Fix, hint, p.Status}},
		`{"error":{"code":"INTERNAL_ERROR","message":"Internal error.","fix":"","hint":"","status":500}}`)
}

func trustpagerCode(p *Problem) string {
	switch p.Status {
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		if p.Code == contact.CodeInsufficientCredits {
			return "INSUFFICIENT_CREDITS"
		}
		return "INSUFFICIENT_SCOPE"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "NOT_FOUND"
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return "CONFLICT"
	case http.StatusTooManyRequests:
		return "RATE_LIMITED"
	}
	switch {
	case p.Status >= http.StatusInternalServerError:
		return "INTERNAL_ERROR"
	case p.Status != http.StatusBadRequest, p.Code == contact.CodeInvalidJSON, p.Code == contact.CodeInvalidBody:
		return "INVALID_BODY"
	case onlyMissing(p.Fields):
		return "MISSING_FIELDS"
	default:
		return "VALIDATION_ERROR"
	}
}

// onlyMissing tells whether all that is wrong is what is not there: a problem
// of the whole body, not of a member that was sent.
func onlyMissing(fields []contact.FieldError) bool {
	for _, f := range fields {
		if f.Code != contact.ProblemRequired || f.Field != "" {
			return false
		}
	}
	return len(fields) > 0
}
