package dialect

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Callbell is the dialect of Callbell's contact API: contacts named by an id
// without dashes or by their phone number, answers in {"contact": [{…}]}.
type Callbell struct{ plain }

// Traits returns what is fixed; Callbell's credentials are opaque.
func (Callbell) Traits() Traits {
	return Traits{Name: "callbell", Wait: vendorWait, PerSecond: 300}
}

// Decode reads a flat body of tags, custom_fields and name.
func (Callbell) Decode(kind contact.Kind, r Request) (Body, error) {
	n := reader{speaks: "callbell", kind: kind}
	var own ownFields
	_, err := n.read(r.Body, func(name string, v jsontext.Value) {
		switch name {
		case "name":
			n.Patch.FullName = n.stringMember(name, v)
		case "tags":
			n.Patch.Tags = n.callbellTags(v)
		case "custom_fields":
			n.callbellFields(v, &own)
		default:
			n.unknown(name)
		}
	})
	if err == nil {
		err = n.callbellOwn(own, r.Definitions)
	}
	n.Fields = n.problems
	return n.Body, err
}

// callbellTags reads an array of tags, or the comma separated values that the
// document also speaks of. Either replaces.
func (n *reader) callbellTags(v jsontext.Value) []string {
	if v.Kind() != jsontext.KindString {
		return n.listMember("tags", v)
	}
	s, ok := n.problems.text("tags", "an array of strings", v)
	if !ok {
		return nil
	}
	tags := []string{}
	for tag := range strings.SplitSeq(s, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// callbellFields reads custom fields, which are named by their labels. They are
// merged by key, and null removes.
func (n *reader) callbellFields(v jsontext.Value, own *ownFields) {
	if v.Kind() != jsontext.KindBeginObject {
		n.problems.wrongType("custom_fields", "an object", v)
		return
	}
	n.Patch.CustomFields = make(map[string]json.RawMessage)
	members(v, func(label string, v jsontext.Value) {
		if v.Kind() != jsontext.KindString && v.Kind() != jsontext.KindNull {
			n.problems.wrongType("custom_fields."+label, "a string or null", v)
			return
		}
		own.names, own.values = append(own.names, label), append(own.values, v.Clone())
	})
}

// callbellOwn takes the custom fields under the names that they came with: what
// is defined, and under which internal name, is settled for every dialect in one
// place. Here a string becomes the number or boolean that it stands for, since
// the document knows strings alone.
func (n *reader) callbellOwn(own ownFields, d Definitions) error {
	if len(own.names) == 0 {
		return nil
	}
	defined, err := d.Load(own.names...)
	if err != nil {
		return err
	}
	for i, label := range own.names {
		f, _ := defined.Field(label)
		n.Patch.CustomFields[label] = json.RawMessage(callbellValue(own.values[i], f.Type))
	}
	return nil
}

// callbellValue is the value that a string stands for in a field of a type. A
// string that stands for none stays, and is refused like any wrong value.
func callbellValue(v jsontext.Value, kind contact.FieldType) jsontext.Value {
	if v.Kind() != jsontext.KindString {
		return v.Clone()
	}
	text, err := jsontext.AppendUnquote(nil, v)
	inner := jsontext.Value(strings.TrimSpace(string(text)))
	if err != nil || !inner.IsValid() {
		return v.Clone()
	}
	switch k := inner.Kind(); {
	case kind == contact.NumberField && k == jsontext.KindNumber,
		kind == contact.BooleanField && (k == jsontext.KindTrue || k == jsontext.KindFalse):
		return inner
	default:
		return v.Clone()
	}
}

const (
	// hexID is the length of an id without dashes.
	hexID = 32
	// A phone number in a path has 5 to 15 digits, with or without a plus.
	leastDigits, mostDigits = 5, 15
)

// Locate reads an id of 32 hexadecimal digits, a UUID, or a phone number.
func (Callbell) Locate(id string) (Location, error) {
	if len(id) == hexID {
		raw, err := hex.DecodeString(id)
		if err == nil && [16]byte(raw) != uuid.Nil {
			return Location{ID: uuid.UUID(raw)}, nil
		}
	}
	digits := strings.TrimPrefix(id, "+")
	if len(digits) >= leastDigits && len(digits) <= mostDigits && strings.Trim(digits, "0123456789") == "" {
		return Location{Phones: []string{"+" + digits, digits}}, nil
	}
	at, err := plain{}.Locate(id)
	if err != nil {
		return at, &contact.Error{
			Code: contact.CodeNotFound, Message: "There is no such contact: the uuid is neither an id nor a phone number.", Err: err,
		}
	}
	return at, nil
}

// callbellContact is the documented Contact.
type callbellContact struct {
	UUID         string            `json:"uuid"`
	Name         *string           `json:"name"`
	PhoneNumber  *string           `json:"phoneNumber"`
	AvatarURL    *string           `json:"avatarUrl"`
	CreatedAt    string            `json:"createdAt"`
	Source       *string           `json:"source"`
	Href         string            `json:"href"`
	Tags         []string          `json:"tags"`
	CustomFields map[string]string `json:"customFields"`
}

// newCallbellContacts writes contacts with their custom fields under their
// labels. While the definitions cannot be asked for, the internal names stand
// for the labels: an applied write is answered all the same.
func newCallbellContacts(f *Frame, contacts ...contact.Contact) []callbellContact {
	var names []string
	for i := range contacts {
		customValues(&contacts[i], func(name string, _ jsontext.Value) { names = append(names, name) })
	}
	label := func(name string) string { return name }
	if len(names) > 0 {
		if defined, err := f.Definitions.Load(names...); err == nil {
			label = func(name string) string {
				if d, found := defined.Field(name); found && d.InternalName == name && d.Label != "" {
					return d.Label
				}
				return name
			}
		}
	}
	rows := make([]callbellContact, len(contacts))
	for i := range contacts {
		rows[i] = newCallbellContact(&contacts[i], f.HrefBase, label)
	}
	return rows
}

func newCallbellContact(c *contact.Contact, hrefBase string, label func(string) string) callbellContact {
	id := callbellID(c.ID)
	n := callbellContact{
		UUID: id, Name: c.FullName(), AvatarURL: c.Text[contact.AvatarURL],
		CreatedAt: callbellTime(c.CreatedAt), Source: c.Text[contact.SourceField],
		Href: strings.TrimSuffix(hrefBase, "/") + "/" + id,
		Tags: c.Tags, CustomFields: make(map[string]string),
	}
	if phone := c.Text[contact.Phone]; phone != nil {
		n.PhoneNumber = new(strings.TrimPrefix(*phone, "+"))
	}
	customValues(c, func(name string, v jsontext.Value) {
		text := string(v)
		if v.Kind() == jsontext.KindString {
			if b, err := jsontext.AppendUnquote(nil, v); err == nil {
				text = string(b)
			}
		}
		n.CustomFields[label(name)] = text
	})
	return n
}

// customValues calls each for every custom field of a contact.
func customValues(c *contact.Contact, each func(name string, v jsontext.Value)) {
	if len(c.CustomFields) > 0 {
		members(jsontext.Value(c.CustomFields), each)
	}
}

// callbellID writes an id without dashes.
func callbellID(id uuid.UUID) string { return hex.EncodeToString(id[:]) }

// callbellTime writes whole seconds, as the document does.
func callbellTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Contact writes {"contact": [contact]}: an array of one.
func (Callbell) Contact(v View) ([]byte, error) {
	return marshal(struct {
		Contact []callbellContact `json:"contact"`
	}{newCallbellContacts(&v.Frame, *v.Contact)})
}

// Queued writes the answer of a 202.
func (Callbell) Queued(a Accepted) ([]byte, error) {
	type queued struct {
		UUID       string        `json:"uuid"`
		WriteID    uuid.UUID     `json:"writeId"`
		State      contact.State `json:"state"`
		AcceptedAt string        `json:"acceptedAt"`
	}
	return marshal(struct {
		Contact []queued `json:"contact"`
	}{[]queued{{callbellID(a.Contact), a.WriteID, contact.Queued, callbellTime(a.AcceptedAt)}}})
}

// List writes {"contacts": […], "meta": {"next"}}; next is opaque.
func (Callbell) List(p Page) ([]byte, error) {
	type meta struct {
		Next *string `json:"next"`
	}
	return marshal(struct {
		Contacts []callbellContact `json:"contacts"`
		Meta     meta              `json:"meta"`
	}{newCallbellContacts(&p.Frame, p.Contacts...), meta{optionalText(p.Next)}})
}

// Problem writes {"error": {message, code, fields}}.
func (Callbell) Problem(p *Problem) (body []byte, mediaType string) {
	type problem struct {
		Message string            `json:"message"`
		Code    contact.Code      `json:"code"`
		Fields  map[string]string `json:"fields"`
	}
	fields := renamed(p.Fields, "full_name", "name")
	for i, f := range fields {
		if list, _, isElement := strings.Cut(f.Field, "["); isElement {
			fields[i].Field, fields[i].Message = list, f.Field+": "+f.Message
		}
	}
	return answerJSON(envelopeOfError[problem]{problem{summary(p, fields), p.Code, fieldTexts(fields)}},
		`{"error":{"message":"Internal error.","code":"internal_error","fields":{}}}`)
}
