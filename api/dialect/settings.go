package dialect

import (
	"github.com/go-json-experiment/json/jsontext"

	"patchlane/tasks/contact"
)

// DecodeTag reads the definition of a tag, {"name": …}, the same in every
// dialect, and returns every problem of it.
func DecodeTag(body []byte) (contact.Tag, []contact.FieldError, error) {
	var t contact.Tag
	var p problems
	err := readObject(body, &p, func(name string, v jsontext.Value) {
		if name != "name" {
			p.add(name, contact.ProblemUnknown, "There is no such member; a tag has a name alone.")
			return
		}
		t.Name, _ = p.text(name, "a string", v)
	})
	if err != nil {
		return t, nil, err
	}
	return t, p.joined(t.Validate()), nil
}

// DecodeField reads the definition of a custom field, {"internal_name": …,
// "label": …, "type": …}, and returns every problem of it.
func DecodeField(body []byte) (contact.CustomField, []contact.FieldError, error) {
	var f contact.CustomField
	var p problems
	err := readObject(body, &p, func(name string, v jsontext.Value) {
		switch name {
		case "internal_name":
			f.InternalName, _ = p.text(name, "a string", v)
		case "label":
			f.Label, _ = p.text(name, "a string", v)
		case "type":
			kind, _ := p.text(name, "a string", v)
			f.Type = contact.FieldType(kind)
		default:
			p.add(name, contact.ProblemUnknown, "There is no such member; a custom field has internal_name, label and type.")
		}
	})
	if err != nil {
		return f, nil, err
	}
	return f, p.joined(f.Validate()), nil
}

// joined adds problems of members that have none yet.
func (p problems) joined(more []contact.FieldError) []contact.FieldError {
	told := make(map[string]bool, len(p))
	for _, e := range p {
		told[e.Field] = true
	}
	for _, e := range more {
		if !told[e.Field] {
			p = append(p, e)
		}
	}
	return p
}

type tagObject struct {
	Name      string `json:"name"`
	CreatedAt string `json:"created_at"`
}

func newTagObject(t *contact.Tag) tagObject {
	return tagObject{Name: t.Name, CreatedAt: FormatTime(t.CreatedAt)}
}

type fieldObject struct {
	InternalName string            `json:"internal_name"`
	Label        string            `json:"label"`
	Type         contact.FieldType `json:"type"`
	CreatedAt    string            `json:"created_at"`
}

func newFieldObject(f *contact.CustomField) fieldObject {
	return fieldObject{
		InternalName: f.InternalName, Label: f.Label, Type: f.Type, CreatedAt: FormatTime(f.CreatedAt),
	}
}

// EncodeTag writes the definition of a tag.
func EncodeTag(t *contact.Tag) ([]byte, error) {
	return marshal(envelope[tagObject]{newTagObject(t)})
}

// EncodeTags writes a page of tags.
func EncodeTags(tags []contact.Tag, limit int, next string) ([]byte, error) {
	rows := make([]tagObject, len(tags))
	for i := range tags {
		rows[i] = newTagObject(&tags[i])
	}
	return marshalList(rows, limit, next)
}

// EncodeField writes the definition of a custom field.
func EncodeField(f *contact.CustomField) ([]byte, error) {
	return marshal(envelope[fieldObject]{newFieldObject(f)})
}

// EncodeFields writes a page of custom fields.
func EncodeFields(fields []contact.CustomField, limit int, next string) ([]byte, error) {
	rows := make([]fieldObject, len(fields))
	for i := range fields {
		rows[i] = newFieldObject(&fields[i])
	}
	return marshalList(rows, limit, next)
}
