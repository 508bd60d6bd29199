package dialect

import (
	"encoding/json"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Contact writes {"data": contact}, after a write with "meta".
func (Native) Contact(v View) ([]byte, error) {
	answer := struct {
		Data nativeContact `json:"data"`
		Meta *nativeMeta   `json:"meta,omitempty"`
	}{Data: newNativeContact(v.Contact)}
	if o := v.Outcome; o != nil {
		answer.Meta = &nativeMeta{
			WriteID: o.WriteID, State: o.State, Version: o.Version,
			Changes: newChanges(o.Changes), Skipped: o.Skipped,
		}
	}
	return marshal(answer)
}

// Queued writes the answer of a 202.
func (Native) Queued(a Accepted) ([]byte, error) {
	type data struct {
		WriteID    uuid.UUID     `json:"write_id"`
		ContactID  uuid.UUID     `json:"contact_id"`
		State      contact.State `json:"state"`
		AcceptedAt string        `json:"accepted_at"`
	}
	return marshal(envelope[data]{data{a.WriteID, a.Contact, contact.Queued, FormatTime(a.AcceptedAt)}})
}

// List writes {"data": […], "pagination": {…}}.
func (Native) List(p Page) ([]byte, error) {
	rows := make([]nativeContact, len(p.Contacts))
	for i := range p.Contacts {
		rows[i] = newNativeContact(&p.Contacts[i])
	}
	return marshalList(rows, p.Limit, p.Next)
}

// Problem writes RFC 9457.
func (Native) Problem(p *Problem) (body []byte, mediaType string) {
	const media = "application/problem+json"
	body, err := marshal(newNativeProblem(p))
	if err != nil {
		// Every string of a problem is ours but the field names, which were
		// checked; this keeps the answer well-formed all the same.
		return []byte(`{"type":"about:blank","title":"Internal error","status":500}` + "\n"), media
	}
	return body, media
}

// ProblemType is the stable URI of a code.
func ProblemType(c contact.Code) string { return "urn:patchlane:problem:" + string(c) }

type nativeProblem struct {
	Type      string               `json:"type"`
	Title     string               `json:"title"`
	Status    int                  `json:"status"`
	Code      contact.Code         `json:"code"`
	Detail    string               `json:"detail"`
	Fix       string               `json:"fix"`
	Errors    []contact.FieldError `json:"errors"`
	RequestID string               `json:"request_id,omitempty"`
}

func newNativeProblem(p *Problem) *nativeProblem {
	return &nativeProblem{
		Type: ProblemType(p.Code), Title: p.Title, Status: p.Status, Code: p.Code,
		Detail: p.Detail, Fix: p.Fix, Errors: p.Fields, RequestID: p.RequestID,
	}
}

// commonContact is what the native dialect and others show of a contact by the same
// names.
type commonContact struct {
	ID           uuid.UUID      `json:"id"`
	ExternalID   *string        `json:"external_id"`
	FirstName    *string        `json:"first_name"`
	LastName     *string        `json:"last_name"`
	FullName     *string        `json:"full_name"`
	Email        *string        `json:"email"`
	Phone        *string        `json:"phone"`
	Landline     *string        `json:"landline"`
	DateOfBirth  *string        `json:"date_of_birth"`
	JobTitle     *string        `json:"job_title"`
	CompanyName  *string        `json:"company_name"`
	LinkedinURL  *string        `json:"linkedin_url"`
	AvatarURL    *string        `json:"avatar_url"`
	ContactOwner *string        `json:"contact_owner"`
	Source       *string        `json:"source"`
	Notes        *string        `json:"notes"`
	Tags         []string       `json:"tags"`
	CustomFields jsontext.Value `json:"custom_fields"`
}

func newCommonContact(c *contact.Contact) commonContact {
	return commonContact{
		ID: c.ID, ExternalID: c.Text[contact.ExternalID],
		FirstName: c.Text[contact.FirstName], LastName: c.Text[contact.LastName], FullName: c.FullName(),
		Email: c.Text[contact.Email], Phone: c.Text[contact.Phone], Landline: c.Text[contact.Landline],
		DateOfBirth: c.Text[contact.DateOfBirth],
		JobTitle:    c.Text[contact.JobTitle], CompanyName: c.Text[contact.CompanyName],
		LinkedinURL: c.Text[contact.LinkedinURL], AvatarURL: c.Text[contact.AvatarURL],
		ContactOwner: c.Text[contact.ContactOwner], Source: c.Text[contact.SourceField],
		Notes: c.Text[contact.Notes], Tags: c.Tags, CustomFields: rawObject(c.CustomFields),
	}
}

// contactLife is where a contact stands in its life.
type contactLife struct {
	ArchivedAt *string `json:"archived_at"`
	ArchivedBy *string `json:"archived_by"`
	Version    int64   `json:"version"`
	CreatedAt  string  `json:"created_at"`
}

func newContactLife(c *contact.Contact) contactLife {
	l := contactLife{ArchivedBy: c.ArchivedBy, Version: c.Version, CreatedAt: FormatTime(c.CreatedAt)}
	if c.ArchivedAt != nil {
		at := FormatTime(*c.ArchivedAt)
		l.ArchivedAt = &at
	}
	return l
}

// nativeContact is a contact as clients see it: every member, always.
type nativeContact struct {
	commonContact

	Metadata    jsontext.Value `json:"metadata"`
	EmailOut    bool           `json:"email_unsubscribed"`
	EmailReason *string        `json:"email_unsubscribed_reason"`
	SMSOut      bool           `json:"sms_unsubscribed"`
	SMSReason   *string        `json:"sms_unsubscribed_reason"`

	contactLife

	UpdatedAt string `json:"updated_at"`
}

func newNativeContact(c *contact.Contact) nativeContact {
	n := nativeContact{
		commonContact: newCommonContact(c), Metadata: rawObject(c.Metadata),
		contactLife: newContactLife(c), UpdatedAt: FormatTime(c.UpdatedAt),
	}
	n.EmailOut, n.EmailReason = standing(c.EmailConsent)
	n.SMSOut, n.SMSReason = standing(c.SMSConsent)
	return n
}

// standing is a channel's flag and its reason.
func standing(c contact.Consent) (out bool, reason *string) {
	cause, _, out := c.Standing()
	if !out {
		return false, nil
	}
	s := cause.String()
	return true, &s
}

// nativeMeta says what the answered write did.
type nativeMeta struct {
	WriteID uuid.UUID      `json:"write_id"`
	State   contact.State  `json:"state"`
	Version int64          `json:"version"`
	Changes []nativeChange `json:"changes"`
	Skipped []contact.Skip `json:"skipped"`
}

// nativeChange is one changed field; op is left out when the field was set.
type nativeChange struct {
	Field string         `json:"field"`
	Op    contact.Op     `json:"op,omitempty"`
	Old   jsontext.Value `json:"old"`
	New   jsontext.Value `json:"new"`
}

func newChanges(changes []contact.Change) []nativeChange {
	rows := make([]nativeChange, len(changes))
	for i, c := range changes {
		rows[i] = nativeChange{Field: c.Field, Old: raw(c.Old), New: raw(c.New)}
		if c.Op != contact.OpSet {
			rows[i].Op = c.Op
		}
	}
	return rows
}

// raw makes stored JSON writable; nothing is null.
func raw(m json.RawMessage) jsontext.Value {
	if len(m) == 0 {
		return jsontext.Value("null")
	}
	return jsontext.Value(m)
}

// rawObject makes a stored object writable; nothing is {}.
func rawObject(m json.RawMessage) jsontext.Value {
	if len(m) == 0 {
		return jsontext.Value("{}")
	}
	return jsontext.Value(m)
}

// FormatTime writes RFC 3339 in UTC with exactly six digits of a second.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// optionalTime is a time that may not have come yet.
func optionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := FormatTime(t)
	return &s
}

// optionalID is an id that may not be there.
func optionalID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

type envelope[T any] struct {
	Data T `json:"data"`
}

type pagination struct {
	Limit   int     `json:"limit"`
	HasMore bool    `json:"has_more"`
	Next    *string `json:"next_cursor"`
}

func newPagination(limit int, next string) pagination {
	return pagination{Limit: limit, HasMore: next != "", Next: optionalText(next)}
}

// optionalText is a text that is null when it is empty.
func optionalText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func marshalList[T any](rows []T, limit int, next string) ([]byte, error) {
	return marshal(struct {
		Data       []T        `json:"data"`
		Pagination pagination `json:"pagination"`
	}{rows, newPagination(limit, next)})
}

// marshal writes JSON: nil lists are [], HTML is left alone, a newline ends it.
func marshal(v any) ([]byte, error) {
	b, err := jsonv2.Marshal(v, jsontext.AllowDuplicateNames(true), jsonv2.Deterministic(true))
	if err != nil {
		return nil, &contact.Error{Code: contact.CodeInternal, Message: "The answer could not be written.", Err: err}
	}
	return append(b, '\n'), nil
}
