package dialect

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// SuppressionBody is a suppression as it is asked for; nil: absent.
type SuppressionBody struct{ Channel, Address, Reason *string }

// DecodeSuppression reads {"channel": …, "address": …, "reason": …}.
func DecodeSuppression(body []byte) (SuppressionBody, []contact.FieldError, error) {
	var s SuppressionBody
	problems, err := readStrings(body, map[string]**string{
		"channel": &s.Channel, "address": &s.Address, "reason": &s.Reason,
	}, "There is no such member; a suppression has channel, address and reason.")
	return s, problems, err
}

// readStrings reads a body of strings alone. What is not there stays as it is.
func readStrings(body []byte, members map[string]**string, unknown string) ([]contact.FieldError, error) {
	var p problems
	err := readObject(body, &p, func(name string, v jsontext.Value) {
		if member, found := members[name]; found {
			*member = p.optional(name, v)
			return
		}
		p.add(name, contact.ProblemUnknown, unknown)
	})
	return p, err
}

// LinkBody says what an unsubscribe link is to be made for; nil: absent.
type LinkBody struct{ ContactID, Channel, Address, List *string }

// DecodeLink reads {"contact_id": …} or {"address": …}, each with "channel" and
// "list" if the client wants.
func DecodeLink(body []byte) (LinkBody, []contact.FieldError, error) {
	var l LinkBody
	problems, err := readStrings(body, map[string]**string{
		"contact_id": &l.ContactID, "channel": &l.Channel, "address": &l.Address, "list": &l.List,
	}, "There is no such member of a link.")
	return l, problems, err
}

// LinkView is an unsubscribe link to be shown.
type LinkView struct {
	URL     string
	Contact uuid.UUID
	Channel contact.Channel
	List    string
}

// EncodeLink writes a link. What a sender needs stands beside data as well: the
// URL and the two headers of RFC 8058.
func EncodeLink(v *LinkView) ([]byte, error) {
	type data struct {
		URL       string            `json:"url"`
		ContactID *uuid.UUID        `json:"contact_id"`
		Channel   string            `json:"channel"`
		List      *string           `json:"list"`
		Headers   map[string]string `json:"headers"`
	}
	return marshal(struct {
		URL  string `json:"url"`
		Data data   `json:"data"`
	}{v.URL, data{
		URL: v.URL, ContactID: optionalID(v.Contact), Channel: v.Channel.String(), List: optionalText(v.List),
		Headers: map[string]string{
			"List-Unsubscribe": "<" + v.URL + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		},
	}})
}

type suppressionObject struct {
	Channel  string    `json:"channel"`
	Address  string    `json:"address"`
	Reason   string    `json:"reason"`
	Since    string    `json:"since"`
	EventID  uuid.UUID `json:"event_id"`
	Provider *string   `json:"provider"`
	Source   string    `json:"source"`
}

func newSuppressionObject(s *contact.Suppression) suppressionObject {
	return suppressionObject{
		Channel: s.Channel.String(), Address: s.Key, Reason: s.Cause.String(), Since: FormatTime(s.Since),
		EventID: s.Event, Provider: optionalText(s.Provider), Source: string(s.Source),
	}
}

// EncodeSuppression writes one suppression.
func EncodeSuppression(s *contact.Suppression) ([]byte, error) {
	return marshal(envelope[suppressionObject]{newSuppressionObject(s)})
}

// EncodeSuppressions writes a page of suppressions.
func EncodeSuppressions(page *contact.SuppressionPage, limit int) ([]byte, error) {
	rows := make([]suppressionObject, len(page.Suppressions))
	for i := range page.Suppressions {
		rows[i] = newSuppressionObject(&page.Suppressions[i])
	}
	return marshalList(rows, limit, page.Next)
}

// EncodeQueuedEvent writes the answer to an event that is durable and was not
// waited for.
func EncodeQueuedEvent(id uuid.UUID, acceptedAt time.Time) ([]byte, error) {
	type data struct {
		EventID    uuid.UUID     `json:"event_id"`
		State      contact.State `json:"state"`
		AcceptedAt string        `json:"accepted_at"`
	}
	return marshal(envelope[data]{data{id, contact.Queued, FormatTime(acceptedAt)}})
}

type reviewObject struct {
	ID         uuid.UUID      `json:"id"`
	State      string         `json:"state"`
	Channel    string         `json:"channel"`
	Address    string         `json:"address"`
	Reason     string         `json:"reason"`
	Cause      string         `json:"cause"`
	Provider   string         `json:"provider"`
	Type       string         `json:"type"`
	ProviderID string         `json:"provider_id"`
	Ambiguous  bool           `json:"ambiguous"`
	Evidence   jsontext.Value `json:"evidence"`
	OccurredAt *string        `json:"occurred_at"`
	ReceivedAt string         `json:"received_at"`
	DecidedAt  *string        `json:"decided_at"`
	DecidedBy  *string        `json:"decided_by"`
}

func newReviewObject(r *contact.OptOutReview) reviewObject {
	o := reviewObject{
		ID: r.ID, State: string(r.State), Channel: r.Channel.String(), Address: r.Address, Reason: r.Reason,
		Cause: r.Cause.String(), Provider: r.Provider, Type: r.Type, ProviderID: r.ProviderID, Ambiguous: r.Ambiguous,
		Evidence: rawObject(r.Evidence), OccurredAt: optionalTime(r.At), ReceivedAt: FormatTime(r.AcceptedAt),
		DecidedBy: optionalText(r.DecidedBy),
	}
	if r.DecidedAt != nil {
		o.DecidedAt = optionalTime(*r.DecidedAt)
	}
	return o
}

// EncodeReview writes one review.
func EncodeReview(r *contact.OptOutReview) ([]byte, error) {
	return marshal(envelope[reviewObject]{newReviewObject(r)})
}

// EncodeReviews writes a page of reviews.
func EncodeReviews(page *contact.ReviewPage, limit int) ([]byte, error) {
	rows := make([]reviewObject, len(page.Reviews))
	for i := range page.Reviews {
		rows[i] = newReviewObject(&page.Reviews[i])
	}
	return marshalList(rows, limit, page.Next)
}

// EncodeQuarantine writes a page of what could not be read. The element is
// shown as text where it is text, else in base64.
func EncodeQuarantine(page *contact.QuarantinePage, limit int) ([]byte, error) {
	type row struct {
		ID         uuid.UUID  `json:"id"`
		EndpointID *uuid.UUID `json:"endpoint_id"`
		Provider   string     `json:"provider"`
		Reason     string     `json:"reason"`
		Detail     string     `json:"detail"`
		ReceivedAt string     `json:"received_at"`
		Encoding   string     `json:"encoding"`
		Element    string     `json:"element"`
	}
	rows := make([]row, len(page.Events))
	for i := range page.Events {
		e := &page.Events[i]
		rows[i] = row{
			ID: e.ID, EndpointID: optionalID(e.Endpoint), Provider: e.Provider, Reason: e.Reason, Detail: e.Type,
			ReceivedAt: FormatTime(e.AcceptedAt), Encoding: "text", Element: string(e.Evidence),
		}
		if !utf8.Valid(e.Evidence) {
			rows[i].Encoding, rows[i].Element = "base64", base64.StdEncoding.EncodeToString(e.Evidence)
		}
	}
	return marshalList(rows, limit, page.Next)
}
