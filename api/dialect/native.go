package dialect

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Native is the dialect of patchlane itself.
type Native struct{ plain }

// Traits returns the name; a native PATCH does not wait unless it is asked to.
func (Native) Traits() Traits {
	return Traits{Name: "native", Credentials: []string{"pl_"}}
}

// Decode reads a flat, strict object of native members.
func (Native) Decode(kind contact.Kind, r Request) (Body, error) {
	n := reader{speaks: "native", kind: kind}
	return n.read(r.Body, n.nativeMember)
}

// nativeMember reads one member of a native body.
func (n *reader) nativeMember(name string, v jsontext.Value) {
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
func (n *reader) otherMember(name string, v jsontext.Value) {
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
		n.unknown(name)
	}
}

// idMember reads the id that a create asks for.
func (n *reader) idMember(v jsontext.Value) {
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
func (n *reader) asOfMember(v jsontext.Value) {
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
