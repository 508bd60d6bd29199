package dialect

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// reader is a body while it is read. Each dialect gives it a function that
// takes the members; the rules of their values are those of the native form
// unless the vendor documents another.
type reader struct {
	Body
	// speaks is the name of the dialect, for the problems.
	speaks   string
	kind     contact.Kind
	problems problems
}

// ownFields are values under names that only the account's definitions know.
type ownFields struct {
	names  []string
	values []jsontext.Value
}

// read reads a body whose members are taken by a function.
func (n *reader) read(body []byte, member func(name string, v jsontext.Value)) (Body, error) {
	if err := readObject(body, &n.problems, member); err != nil {
		return Body{}, err
	}
	n.Fields = n.problems
	return n.Body, nil
}

// textField finds a text field by its member name.
func textField(name string) (contact.Field, bool) {
	for f := range contact.NumFields {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}

// textMember reads a text field of the native form: only the first name cannot
// be null.
func (n *reader) textMember(f contact.Field, v jsontext.Value) {
	if f == contact.FirstName {
		if s := n.stringMember(f.String(), v); s != nil {
			n.Patch.SetText(f, s)
		}
		return
	}
	if s, ok := n.problems.textOrNull(f.String(), v); ok {
		n.Patch.SetText(f, s)
	}
}

func (n *reader) stringMember(name string, v jsontext.Value) *string {
	s, ok := n.problems.text(name, "a string", v)
	if !ok {
		return nil
	}
	return &s
}

func (n *reader) flagMember(name string, v jsontext.Value) *bool {
	b, ok := n.problems.boolean(name, v)
	if !ok {
		return nil
	}
	return &b
}

// listMember reads an array of strings; an empty one is not nil.
func (n *reader) listMember(name string, v jsontext.Value) []string {
	list, good := []string{}, true
	isArray := n.problems.elements(name, v, func(i int, e jsontext.Value) {
		s, ok := n.problems.text(name+"["+strconv.Itoa(i)+"]", "a string", e)
		list, good = append(list, s), good && ok
	})
	if !isArray || !good {
		return nil
	}
	return list
}

func (n *reader) customFields(v jsontext.Value) {
	if v.Kind() != jsontext.KindBeginObject {
		n.problems.wrongType("custom_fields", "an object", v)
		return
	}
	n.Patch.CustomFields = make(map[string]json.RawMessage)
	members(v, func(name string, v jsontext.Value) {
		n.Patch.CustomFields[name] = json.RawMessage(v.Clone())
	})
}

// stringField reads a text field that is a string and cannot be cleared.
func (n *reader) stringField(f contact.Field, v jsontext.Value) {
	if s := n.stringMember(f.String(), v); s != nil {
		n.Patch.SetText(f, s)
	}
}

// unknown refuses a member, and says so if it is one of another dialect's.
func (n *reader) unknown(name string) {
	n.problems.add(name, contact.ProblemUnknown, unknownMember(n.speaks, name))
}

// ParseID reads a UUID in its canonical form of 36 characters, in either case.
func ParseID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.Nil, &contact.Error{Code: contact.CodeNotFound, Message: "The id is not a UUID."}
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, &contact.Error{Code: contact.CodeNotFound, Message: "The id is not a UUID.", Err: err}
	}
	return id, nil
}

// ParseTime reads an RFC 3339 time, cut to microseconds.
func ParseTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, &contact.Error{
			Code: contact.CodeValidationFailed, Message: "The time is not RFC 3339.", Err: err,
		}
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

// plain is what most dialects have in common: no query of their own, contacts
// named by their UUID, and the change log in the native form.
type plain struct{}

// CheckQuery finds nothing wrong.
func (plain) CheckQuery(url.Values, Definitions) error { return nil }

// Locate reads a UUID of 36 characters. What is none cannot be there.
func (plain) Locate(id string) (Location, error) {
	parsed, err := ParseID(id)
	if err != nil || parsed == uuid.Nil {
		return Location{}, &contact.Error{
			Code: contact.CodeNotFound, Message: "There is no such contact: the id is not a UUID.", Err: err,
		}
	}
	return Location{ID: parsed}, nil
}

// Log writes {"data": […], "pagination": {…}}.
func (plain) Log(p LogPage) ([]byte, error) {
	return marshalList(logRows(p.LogPage), p.Limit, p.Next)
}
