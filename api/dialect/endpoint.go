package dialect

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// EndpointBody is a webhook endpoint as it is asked for. What is absent is nil.
type EndpointBody struct {
	Provider *string
	// Secrets comes from secret or secrets.
	Secrets                         []string
	BasicAuth                       []string
	TopicARN                        *string
	StopWords, StartWords           []string
	ReviewAmbiguous, IgnoreMentions *bool
}

// DecodeEndpoint reads a webhook endpoint, the same in every dialect, and
// returns every problem of its members. A change has no provider.
func DecodeEndpoint(body []byte, isChange bool) (EndpointBody, []contact.FieldError, error) {
	var e EndpointBody
	var p problems
	var single *string
	var named bool
	err := readObject(body, &p, func(name string, v jsontext.Value) {
		switch name {
		case "provider":
			if named = true; isChange {
				p.add(name, contact.ProblemUnknown, "The provider of an endpoint cannot be changed; make another endpoint.")
				return
			}
			e.Provider = p.optional(name, v)
		case "secret":
			single = p.optional(name, v)
		default:
			e.member(&p, name, v)
		}
	})
	if err != nil {
		return e, nil, err
	}
	switch {
	case single != nil && e.Secrets != nil:
		p.add("secret", contact.ProblemConflict, "Send secret or secrets, not both.")
	case single != nil:
		e.Secrets = []string{*single}
	}
	if !isChange && !named {
		p.add("provider", contact.ProblemRequired, "Say which provider calls the endpoint.")
	}
	return e, p, nil
}

// member reads what an endpoint and a change of one have in common.
func (e *EndpointBody) member(p *problems, name string, v jsontext.Value) {
	switch name {
	case "secrets":
		e.Secrets = p.texts(name, v)
	case "basic_auth":
		e.BasicAuth = p.texts(name, v)
	case "topic_arn":
		e.TopicARN = p.optional(name, v)
	case "stop_words":
		e.StopWords = p.texts(name, v)
	case "start_words":
		e.StartWords = p.texts(name, v)
	case "review_ambiguous":
		e.ReviewAmbiguous = p.flag(name, v)
	case "ignore_mentions":
		e.IgnoreMentions = p.flag(name, v)
	default:
		p.add(name, contact.ProblemUnknown, "There is no such member of an endpoint.")
	}
}

// optional reads a string; nil is what has a problem.
func (p *problems) optional(name string, v jsontext.Value) *string {
	s, ok := p.text(name, "a string", v)
	if !ok {
		return nil
	}
	return &s
}

// flag reads a boolean; nil is what has a problem.
func (p *problems) flag(name string, v jsontext.Value) *bool {
	b, ok := p.boolean(name, v)
	if !ok {
		return nil
	}
	return &b
}

// texts reads an array of strings; it is never nil where one stands.
func (p *problems) texts(name string, v jsontext.Value) []string {
	list := []string{}
	p.elements(name, v, func(_ int, v jsontext.Value) {
		if s, ok := p.text(name, "an array of strings", v); ok {
			list = append(list, s)
		}
	})
	return list
}

// EndpointView is a webhook endpoint to be shown: without its secrets.
type EndpointView struct {
	*contact.Endpoint
	URL                             string
	StopWords, StartWords           []string
	ReviewAmbiguous, IgnoreMentions bool
}

type endpointObject struct {
	ID              uuid.UUID `json:"id"`
	Provider        string    `json:"provider"`
	URL             string    `json:"url"`
	Secrets         int       `json:"secrets"`
	BasicAuth       int       `json:"basic_auth"`
	TopicARN        *string   `json:"topic_arn"`
	StopWords       []string  `json:"stop_words"`
	StartWords      []string  `json:"start_words"`
	ReviewAmbiguous bool      `json:"review_ambiguous"`
	IgnoreMentions  bool      `json:"ignore_mentions"`
	CreatedAt       string    `json:"created_at"`
}

func newEndpointObject(v *EndpointView) endpointObject {
	return endpointObject{
		ID: v.ID, Provider: v.Provider, URL: v.URL, Secrets: len(v.Secrets), BasicAuth: len(v.BasicAuth),
		TopicARN: optionalText(v.TopicARN), StopWords: v.StopWords, StartWords: v.StartWords,
		ReviewAmbiguous: v.ReviewAmbiguous, IgnoreMentions: v.IgnoreMentions, CreatedAt: FormatTime(v.CreatedAt),
	}
}

// EncodeEndpoint writes one endpoint. What a script needs of it stands beside
// data as well.
func EncodeEndpoint(v *EndpointView) ([]byte, error) {
	return marshal(struct {
		ID       uuid.UUID      `json:"id"`
		Provider string         `json:"provider"`
		URL      string         `json:"url"`
		Data     endpointObject `json:"data"`
	}{v.ID, v.Provider, v.URL, newEndpointObject(v)})
}

// EncodeEndpoints writes a page of endpoints.
func EncodeEndpoints(views []EndpointView, limit int, next string) ([]byte, error) {
	rows := make([]endpointObject, len(views))
	for i := range views {
		rows[i] = newEndpointObject(&views[i])
	}
	return marshalList(rows, limit, next)
}
