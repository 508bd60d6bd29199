package contact

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// FieldType is what the values of a custom field are.
type FieldType string

// The types of custom fields.
const (
	StringField  FieldType = "string"
	NumberField  FieldType = "number"
	BooleanField FieldType = "boolean"
	// DateField is a day, written YYYY-MM-DD.
	DateField FieldType = "date"
	// URLField is an absolute http or https URL.
	URLField FieldType = "url"
)

// FieldTypes lists every type of custom field.
func FieldTypes() []FieldType {
	return []FieldType{StringField, NumberField, BooleanField, DateField, URLField}
}

// Tag is the definition of a tag. Tags are compared without case; the spelling
// of the definition is the one that contacts carry.
type Tag struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// CustomField is the definition of a custom field. Contacts hold its values
// under the internal name; the label is for people.
type CustomField struct {
	InternalName string    `json:"internal_name"`
	Label        string    `json:"label"`
	Type         FieldType `json:"type"`
	CreatedAt    time.Time `json:"created_at"`
}

// The limits of an account's settings: a snapshot of them travels as one.
const (
	MaxTagDefinitions   = 10_000
	MaxFieldDefinitions = 1_000
)

// maxInternalName is how many characters an internal name may have.
const maxInternalName = 100

// Validate trims the name and returns what is wrong with it.
func (t *Tag) Validate() []FieldError {
	t.Name = strings.TrimSpace(t.Name)
	return checkName("name", t.Name, maxTagCharacters)
}

// Validate trims the names, takes the internal name for a missing label, and
// returns every problem.
func (f *CustomField) Validate() []FieldError {
	f.InternalName = strings.TrimSpace(f.InternalName)
	if f.Label = strings.TrimSpace(f.Label); f.Label == "" {
		f.Label = f.InternalName
	}
	problems := checkName("internal_name", f.InternalName, maxInternalName)
	switch {
	case len(problems) > 0:
	case !isInternalName(f.InternalName):
		problems = append(problems, FieldError{
			Field: "internal_name", Code: ProblemInvalidFormat,
			Message: "must start with a letter and have letters, digits, underscores and hyphens only",
		})
	case isReserved(f.InternalName):
		problems = append(problems, FieldError{
			Field: "internal_name", Code: ProblemConflict, Message: "is the name of a member that every contact has",
		})
	}
	if f.Label != f.InternalName {
		problems = append(problems, checkName("label", f.Label, maxNameCharacters)...)
	}
	if !slices.Contains(FieldTypes(), f.Type) {
		problems = append(problems, FieldError{
			Field: "type", Code: ProblemInvalidFormat, Message: "must be string, number, boolean, date or url",
		})
	}
	return problems
}

// checkName checks a name that people see: one line of text.
func checkName(field, name string, limit int) []FieldError {
	var code, message string
	switch {
	case name == "":
		code, message = ProblemRequired, "cannot be empty"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		code, message = ProblemInvalidCharacters, "must be text without control characters"
	case utf8.RuneCountInString(name) > limit:
		code, message = ProblemTooLong, "must have at most "+strconv.Itoa(limit)+" characters"
	default:
		return nil
	}
	return []FieldError{{Field: field, Code: code, Message: message}}
}

// isInternalName tells whether a name can stand beside the members of a contact.
func isInternalName(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || (c != '_' && c != '-' && (c < '0' || c > '9'))) {
			return false
		}
	}
	return name != ""
}

// isReserved tells whether a contact has a member of that name in some dialect,
// where custom fields stand beside the members.
func isReserved(name string) bool {
	name = strings.ToLower(name)
	if _, isField := ParseField(name); isField {
		return true
	}
	switch name {
	case "id", "uuid", "href", "name", "full_name", "notes_append", "tags", "tags_add", "tags_remove",
		"custom_fields", "metadata", "metadata_merge", "email_unsubscribed", "email_unsubscribed_reason",
		"sms_unsubscribed", "sms_unsubscribed_reason", "archived", "archived_at", "archived_by", "version",
		"created_at", "updated_at", "updated_date", "as_of", "fields", "properties":
		return true
	default:
		return false
	}
}

// Settings is everything that an account has defined, at one revision.
type Settings struct {
	Account uuid.UUID `json:"account"`
	// Revision grows with every change of the account's definitions; 0: there
	// never was one.
	Revision int64         `json:"revision"`
	Tags     []Tag         `json:"tags"`
	Fields   []CustomField `json:"fields"`
}

// Definitions answers questions about the settings of one account. It is a
// snapshot and never changes.
type Definitions struct {
	revision int64
	tags     map[string]string      // key -> name
	fields   map[string]CustomField // internal name -> definition
	names    map[string]string      // key of an internal name or label -> internal name
	sorted   []CustomField
}

// NewDefinitions makes the snapshot of settings.
func NewDefinitions(s Settings) *Definitions {
	d := &Definitions{
		revision: s.Revision,
		tags:     make(map[string]string, len(s.Tags)),
		fields:   make(map[string]CustomField, len(s.Fields)),
		names:    make(map[string]string, 2*len(s.Fields)),
		sorted:   slices.Clone(s.Fields),
	}
	for _, t := range s.Tags {
		d.tags[TagKey(t.Name)] = t.Name
	}
	slices.SortFunc(d.sorted, func(a, b CustomField) int { return cmp.Compare(a.InternalName, b.InternalName) })
	for _, f := range d.sorted {
		d.fields[f.InternalName] = f
		d.names[FieldKey(f.Label)] = f.InternalName
	}
	for _, f := range d.sorted { // an internal name goes before a label
		d.names[FieldKey(f.InternalName)] = f.InternalName
	}
	return d
}

// Revision is the revision of the settings that the snapshot was made of.
func (d *Definitions) Revision() int64 { return d.revision }

// Tag returns the spelling of a tag that contacts carry; false when no tag of
// that name, in whatever case, is defined.
func (d *Definitions) Tag(name string) (string, bool) {
	canonical, ok := d.tags[TagKey(name)]
	return canonical, ok
}

// Field finds a custom field by its internal name or its label, without case.
func (d *Definitions) Field(name string) (CustomField, bool) {
	if f, ok := d.fields[name]; ok {
		return f, true
	}
	f, ok := d.fields[d.names[FieldKey(name)]]
	return f, ok
}

// Fields lists the custom fields in the order of their internal names. The list
// must not be changed.
func (d *Definitions) Fields() []CustomField { return d.sorted }

// FieldKey returns the form in which the names and labels of custom fields are
// compared: without case, and without white space around.
func FieldKey(name string) string { return TagKey(strings.TrimSpace(name)) }
