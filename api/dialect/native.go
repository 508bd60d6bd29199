package dialect

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Native is the dialect of patchlane itself.
type Native struct{}

// Traits returns the name; a native PATCH does not wait unless it is asked to.
func (Native) Traits() Traits {
	return Traits{Name: "native", Credentials: []string{"pl_"}}
}

// Decode reads a flat, strict object of native members.
func (Native) Decode(kind contact.Kind, r Request) (Body, error) {
	n := nativeBody{kind: kind}
	if err := readObject(r.Body, &n.problems, n.member); err != nil {
		return Body{}, err
	}
	n.Fields = n.problems
	return n.Body, nil
}

// nativeBody is a body while it is read.
type nativeBody struct {
	Body
	kind     contact.Kind
	problems problems
}

// member reads one member of the body.
func (n *nativeBody) member(name string, v jsontext.Value) {
	if f, ok := textField(name); ok {
		n.textMember(f, v)
		return
	}
	switch name {
	case "id":
		n.idMember(v)
	case "full_name":
		n.Patch.FullName = n.stringMember(name, v)
	case "notes_append":
		n.Patch.NotesAppend = n.stringMember(name, v)
	case "tags":
		n.Patch.Tags = n.listMember(name, v)
	case "tags_add":
		n.Patch.TagsAdd = n.listMember(name, v)
	case "tags_remove":
		n.Patch.TagsRemove = n.listMember(name, v)
	case "as_of":
		n.asOfMember(v)
	default:
		n.otherMember(name, v)
	}
}

// otherMember reads the objects and flags, and refuses what is no member.
func (n *nativeBody) otherMember(name string, v jsontext.Value) {
	switch name {
	case "custom_fields":
		n.customFields(v)
	case "metadata":
		if o, ok := n.problems.object(name, v); ok {
			n.Patch.Metadata = json.RawMessage(o)
		}
	case "metadata_merge":
		if o, ok := n.problems.object(name, v); ok {
			n.Patch.MetadataMerge = json.RawMessage(o)
		}
	case "email_unsubscribed":
		n.Patch.EmailUnsubscribed = n.flagMember(name, v)
	case "sms_unsubscribed":
		n.Patch.SMSUnsubscribed = n.flagMember(name, v)
	default:
		n.problems.add(name, contact.ProblemUnknown, "There is no such member; names are lower-case and exact.")
	}
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

// textMember reads a text field. Only the first name cannot be null.
func (n *nativeBody) textMember(f contact.Field, v jsontext.Value) {
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

func (n *nativeBody) stringMember(name string, v jsontext.Value) *string {
	s, ok := n.problems.text(name, "a string", v)
	if !ok {
		return nil
	}
	return &s
}

func (n *nativeBody) flagMember(name string, v jsontext.Value) *bool {
	b, ok := n.problems.boolean(name, v)
	if !ok {
		return nil
	}
	return &b
}

// listMember reads an array of strings; an empty one is not nil.
func (n *nativeBody) listMember(name string, v jsontext.Value) []string {
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

func (n *nativeBody) customFields(v jsontext.Value) {
	if v.Kind() != jsontext.KindBeginObject {
		n.problems.wrongType("custom_fields", "an object", v)
		return
	}
	n.Patch.CustomFields = make(map[string]json.RawMessage)
	members(v, func(name string, v jsontext.Value) {
		n.Patch.CustomFields[name] = json.RawMessage(v.Clone())
	})
}

// idMember reads the id that a create asks for.
func (n *nativeBody) idMember(v jsontext.Value) {
	if n.kind != contact.KindCreate {
		n.problems.add("id", contact.ProblemUnknown, "The id is in the path and cannot be changed.")
		return
	}
	s, ok := n.problems.text("id", "a string", v)
	if !ok {
		return
	}
	id, err := ParseID(s)
	if err != nil || id == uuid.Nil {
		n.problems.add("id", contact.ProblemInvalidFormat, "The id must be a UUID of 36 characters, and not the nil UUID.")
		return
	}
	n.ID = id
}

// asOfMember reads how old the data is.
func (n *nativeBody) asOfMember(v jsontext.Value) {
	s, ok := n.problems.text("as_of", "a string", v)
	if !ok {
		return
	}
	at, err := ParseTime(s)
	if err != nil {
		n.problems.add("as_of", contact.ProblemInvalidFormat, "The time must be RFC 3339, such as 2026-11-22T03:00:00Z.")
		return
	}
	n.AsOf = at
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
