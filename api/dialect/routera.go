package dialect

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"patchlane/tasks/contact"
)

// Routera is the dialect of Routera's object API: bodies of {"fields": {…}},
// flat answers with the properties that ?properties= adds to the default ones.
type Routera struct{ plain }

// Traits returns the prefixes of Routera, whose credentials are opaque or JWTs.
func (Routera) Traits() Traits {
	return Traits{
		Name: "routera", Wait: vendorWait, Prefixes: []string{"/contacts"},
		Params: []string{"properties"}, NeedsID: true,
	}
}

// Decode reads {"fields": {internal_name: value}}.
func (Routera) Decode(kind contact.Kind, r Request) (Body, error) {
	n := reader{speaks: "routera", kind: kind}
	wrapped := false
	var own ownFields
	_, err := n.read(r.Body, func(name string, v jsontext.Value) {
		switch {
		case name != "fields":
			n.problems.add(name, contact.ProblemUnknown,
				"A body has fields alone, and internal names inside of it. "+unknownMember(n.speaks, name))
		case v.Kind() != jsontext.KindBeginObject:
			n.problems.wrongType(name, "an object of internal names and values", v)
		default:
			wrapped = true
			members(v, func(name string, v jsontext.Value) { n.routeraField(name, v, &own) })
		}
	})
	if err != nil {
		return Body{}, err
	}
	if err := n.routeraOwn(own, r.Definitions); err != nil {
		return Body{}, err
	}
	if !wrapped && !slices.ContainsFunc(n.problems, inFields) {
		n.problems.add("fields", contact.ProblemRequired, `The body must have fields: {"fields": {"first_name": "Ada"}}.`)
	}
	if kind == contact.KindCreate && wrapped && len(n.problems) == 0 && !routeraNamed(&n.Patch) {
		n.problems.add("fields", contact.ProblemRequired, "A new contact needs one of email, first_name and last_name.")
	}
	n.Fields = n.problems
	return n.Body, nil
}

// inFields tells whether a problem lies in fields, which are there then.
func inFields(p contact.FieldError) bool {
	return p.Field == "fields" || strings.HasPrefix(p.Field, "fields.")
}

// routeraNamed tells whether a create says who the contact is.
func routeraNamed(p *contact.Patch) bool {
	for _, f := range []contact.Field{contact.Email, contact.FirstName, contact.LastName} {
		if s, _ := p.Text(f); s != nil && strings.TrimSpace(*s) != "" {
			return true
		}
	}
	return p.FullName != nil
}

// routeraField reads one field by its internal name: a field of every contact,
// or one that the account may have defined.
func (n *reader) routeraField(name string, v jsontext.Value, own *ownFields) {
	if f, ok := textField(name); ok {
		n.textMember(f, v)
		return
	}
	switch name {
	case "full_name":
		n.Patch.FullName = n.stringMember(name, v)
	case "email_unsubscribed", "sms_unsubscribed":
		n.otherMember(name, v)
	case "id", "account_id", "created_at", "updated_at", "archived", "archived_at", "archived_by", "version":
		n.problems.add(name, "forbidden", "The field is kept by the system and cannot be written.")
	case "metadata", "metadata_merge", "custom_fields", "tags", "tags_add", "tags_remove",
		"notes_append", "as_of", "name", "fields":
		n.problems.add(name, contact.ProblemUnknown, "There is no field with this internal name. "+unknownMember(n.speaks, name))
	default:
		own.names, own.values = append(own.names, name), append(own.values, v.Clone())
	}
}

// routeraOwn takes the fields that the account may have defined itself. Which of
// them it has is settled for every dialect in one place; that they are named by
// their internal names is Routera's rule.
func (n *reader) routeraOwn(own ownFields, d Definitions) error {
	if len(own.names) == 0 {
		return nil
	}
	defined, err := d.Load(own.names...)
	if err != nil {
		return err
	}
	n.Patch.CustomFields = make(map[string]json.RawMessage)
	for i, name := range own.names {
		if f, found := defined.Field(name); found && f.InternalName != name {
			n.problems.add(name, contact.ProblemUnknown, "This is no internal name but a label, or one in another case.")
			continue
		}
		n.Patch.CustomFields[name] = json.RawMessage(own.values[i])
	}
	return nil
}

// CheckQuery checks ?properties=: system properties that no answer shows are as
// unknown as names that are none.
func (Routera) CheckQuery(q url.Values, d Definitions) error {
	var own []string
	for _, name := range commaList(q, "properties") {
		if !slices.Contains(routeraExtras(), name) && !slices.Contains(routeraDefaults(), name) {
			own = append(own, name)
		}
	}
	if len(own) == 0 {
		return nil
	}
	defined, err := d.Load(own...)
	if err != nil {
		return err
	}
	for _, name := range own {
		if f, found := defined.Field(name); !found || f.InternalName != name {
			return invalidProperty("properties", name)
		}
	}
	return nil
}

// routeraDefaults are the properties of every answer.
func routeraDefaults() []string {
	return []string{
		"id", "first_name", "last_name", "email", "contact_owner", "external_id", "archived",
		"created_at", "updated_at", "archived_by",
	}
}

// routeraExtras are the properties that ?properties= may add.
func routeraExtras() []string {
	return []string{
		"full_name", "phone", "landline", "date_of_birth", "job_title", "company_name", "linkedin_url",
		"avatar_url", "source", "notes", "email_unsubscribed", "sms_unsubscribed",
	}
}

// routeraTime writes RFC 3339 in UTC with milliseconds.
func routeraTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// routeraObject writes a contact: the default properties, the custom values
// that it has, then what was asked for.
func routeraObject(c *contact.Contact, f *Frame) (jsontext.Value, error) {
	var o object
	o.set("id", c.ID)
	for _, field := range []contact.Field{
		contact.FirstName, contact.LastName, contact.Email, contact.ContactOwner, contact.ExternalID,
	} {
		o.set(field.String(), c.Text[field])
	}
	if c.ArchivedAt == nil {
		o.set("archived", false)
	} else {
		o.set("archived", routeraTime(*c.ArchivedAt))
		o.set("archived_by", c.ArchivedBy)
	}
	o.set("created_at", routeraTime(c.CreatedAt))
	o.set("updated_at", routeraTime(c.UpdatedAt))
	customValues(c, func(name string, v jsontext.Value) {
		if !slices.Contains(routeraExtras(), name) {
			o.add(name, v)
		}
	})
	for _, name := range commaList(f.Query, "properties") {
		if name != "archived_by" {
			o.set(name, routeraProperty(c, name))
		}
	}
	return o.value(), o.err
}

// routeraProperty is the value of a property that was asked for; a defined
// field without a value is null.
func routeraProperty(c *contact.Contact, name string) any {
	if f, ok := textField(name); ok {
		return c.Text[f]
	}
	switch name {
	case "full_name":
		return c.FullName()
	case "email_unsubscribed":
		out, _ := standing(c.EmailConsent)
		return out
	case "sms_unsubscribed":
		out, _ := standing(c.SMSConsent)
		return out
	default:
		return nil
	}
}

// Contact writes a flat object.
func (Routera) Contact(v View) ([]byte, error) {
	o, err := routeraObject(v.Contact, &v.Frame)
	if err != nil {
		return nil, err
	}
	return marshal(o)
}

// Queued writes the answer of a 202.
func (Routera) Queued(a Accepted) ([]byte, error) { return marshal(newQueuedWrite(a, routeraTime)) }

// List writes {"data": […], "pagination": {…}}.
func (Routera) List(p Page) ([]byte, error) {
	rows := make([]jsontext.Value, len(p.Contacts))
	for i := range p.Contacts {
		var err error
		if rows[i], err = routeraObject(&p.Contacts[i], &p.Frame); err != nil {
			return nil, err
		}
	}
	return marshalList(rows, p.Limit, p.Next)
}

// routeraUnauthorized is what Routera says to a credential that names no
// account.
const routeraUnauthorized = "Unauthorized: missing account context"

// Problem writes {"message", "error": true, "code", "fields"}.
func (Routera) Problem(p *Problem) (body []byte, mediaType string) {
	fields := slices.Clone(p.Fields)
	for i := range fields {
		fields[i].Field = strings.TrimPrefix(fields[i].Field, "custom_fields.")
	}
	message := summary(p, fields)
	if p.Code == contact.CodeUnauthorized {
		message = routeraUnauthorized
	}
	return answerJSON(struct {
		Message string            `json:"message"`
		Error   bool              `json:"error"`
		Code    contact.Code      `json:"code"`
		Fields  map[string]string `json:"fields"`
	}{message, true, p.Code, fieldTexts(fields)},
		`{"message":"Internal error.","error":true,"code":"internal_error","fields":{}}`)
}

// Locate reads the id of a path.
func (Routera) Locate(id string) (Location, error) {
	if id == "" {
		return Location{}, &contact.Error{
			Code: contact.CodeValidationFailed, Message: "The path has no contactId.",
			Fix: "Send the request to /contacts/{contactId}.",
			Fields: []contact.FieldError{{
				Field: "contactId", Code: contact.ProblemRequired, Message: "The path needs the id of a contact.",
			}},
		}
	}
	return plain{}.Locate(id)
}
