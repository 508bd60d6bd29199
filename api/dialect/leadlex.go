package dialect

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"patchlane/tasks/contact"
)

// LeadLex is the dialect of LeadLex's contact API: flat bodies whose notes are
// appended, answers in {"data"}, errors with a text for each field.
type LeadLex struct{ plain }

// Traits returns the prefixes of LeadLex. Its keys tell the vendor on any path,
// since one of its documented paths is also that of others.
func (LeadLex) Traits() Traits {
	return Traits{
		Name: "leadlex", Wait: vendorWait,
		Prefixes:    []string{"/functions/v1/api-gateway/v1"},
		Credentials: []string{"wbk_"}, Claims: []string{"wbk_"},
	}
}

// Decode reads a flat body. Notes are added to those that are there, and a
// phone number need not be in E.164.
func (LeadLex) Decode(kind contact.Kind, r Request) (Body, error) {
	n := reader{speaks: "leadlex", kind: kind}
	n.LaxPhone = true
	return n.read(r.Body, n.leadlexMember)
}

func (n *reader) leadlexMember(name string, v jsontext.Value) {
	switch name {
	case "full_name":
		n.Patch.FullName = n.stringMember(name, v)
	case "notes":
		n.Patch.NotesAppend = n.stringMember(name, v)
	case "email", "phone", "job_title", "company_name", "linkedin_url":
		f, _ := textField(name)
		n.textMember(f, v)
	default:
		n.unknown(name)
	}
}

// leadlexContact is a contact as LeadLex shows it.
type leadlexContact struct {
	commonContact
	contactLife

	UpdatedDate string `json:"updated_date"`
}

func newLeadlexContact(c *contact.Contact) leadlexContact {
	return leadlexContact{newCommonContact(c), newContactLife(c), FormatTime(c.UpdatedAt)}
}

// Contact writes {"data": contact}, without meta.
func (LeadLex) Contact(v View) ([]byte, error) {
	return marshal(envelope[leadlexContact]{newLeadlexContact(v.Contact)})
}

// Queued writes the answer of a 202.
func (LeadLex) Queued(a Accepted) ([]byte, error) {
	return marshal(envelope[queuedWrite]{newQueuedWrite(a, FormatTime)})
}

// List writes {"data": […], "pagination": {…}}.
func (LeadLex) List(p Page) ([]byte, error) {
	rows := make([]leadlexContact, len(p.Contacts))
	for i := range p.Contacts {
		rows[i] = newLeadlexContact(&p.Contacts[i])
	}
	return marshalList(rows, p.Limit, p.Next)
}

// Problem writes {"error": {code, message, details: {fields}}}.
func (LeadLex) Problem(p *Problem) (body []byte, mediaType string) {
	type details struct {
		Fields map[string]string `json:"fields"`
	}
	type problem struct {
		Code    string  `json:"code"`
		Message string  `json:"message"`
		Details details `json:"details"`
	}
	fields := renamed(p.Fields, "notes_append", "notes")
	for i, f := range fields {
		if f.Field == "email" && f.Code == contact.ProblemInvalidFormat {
			fields[i].Message = "Invalid email format"
		}
	}
	message := p.Detail
	if len(fields) > 0 {
		message = "Invalid request parameters"
	}
	return answerJSON(envelopeOfError[problem]{problem{
		Code: leadlexCode(p.Status), Message: message, Details: details{fieldTexts(fields)},
	}}, `{"error":{"code":"unavailable","message":"Internal error.","details":{"fields":{}}}}`)
}

// envelopeOfError is {"error": …}.
type envelopeOfError[T any] struct {
	Error T `json:"error"`
}

// leadlexCode is the documented code of a problem, or one of the few that the
// document has no word for.
func leadlexCode(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusRequestTimeout:
		return "validation_error"
	case http.StatusUnauthorized:
		return "invalid_key"
	case http.StatusForbidden:
		return "insufficient_permissions"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "not_found"
	case http.StatusConflict:
		return "conflict"
	case http.StatusPreconditionFailed:
		return "precondition_failed"
	case http.StatusRequestEntityTooLarge:
		return "payload_too_large"
	case http.StatusUnsupportedMediaType:
		return "unsupported_media_type"
	case http.StatusUnprocessableEntity:
		return "idempotency_key_reused"
	case http.StatusTooManyRequests:
		return "rate_limited"
	default:
		return "unavailable"
	}
}
