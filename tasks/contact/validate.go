package contact

import (
	"strings"
	"time"
	"unicode/utf8"
)

// The codes of a FieldError.
const (
	ProblemRequired          = "required"
	ProblemInvalidType       = "invalid_type"
	ProblemInvalidFormat     = "invalid_format"
	ProblemInvalidCharacters = "invalid_characters"
	ProblemTooLong           = "too_long"
	ProblemTooMany           = "too_many"
	ProblemInFuture          = "in_future"
	ProblemConflict          = "conflict"
	ProblemDuplicate         = "duplicate"
	ProblemUnknown           = "unknown"
)

// The limits of a patch. Characters are code points.
const (
	maxEmailBytes      = 254
	maxWorkCharacters  = 500 // job_title, company_name
	maxURLCharacters   = 2048
	maxExternalIDBytes = 255
	maxSourceLength    = 100
	maxTagCharacters   = 255
	maxNameCharacters  = 255 // names of custom fields

	// MaxTags is how many tags a contact may have.
	MaxTags = 1000
	// MaxObjectBytes limits metadata, and custom_fields as a whole, in the
	// canonical form: without white space.
	MaxObjectBytes = 64 << 10
)

// Rules is what validation needs to know from outside.
type Rules struct {
	// Now is the moment of validation: no date of birth lies after it
	// anywhere on earth.
	Now time.Time
	// LaxPhone takes a phone number that is no E.164: digits with spaces, dots,
	// hyphens and brackets. It is stored in E.164 when it is one, else as sent.
	LaxPhone bool
}

// Validate checks the patch by the rules of the native dialect and brings it
// into canonical form, in place: names trimmed, a full name split, the domains
// of e-mail addresses lower-cased, JSON respelled. It returns every problem,
// none if the patch can be stored; a patch with problems is in no useful state.
// The texts of the problems never hold a value.
func (p *Patch) Validate(r Rules) []FieldError {
	v := validator{patch: p, rules: r}
	v.names()
	v.addresses()
	v.work()
	v.notes()
	v.tags()
	v.customFields()
	v.metadata()
	return v.problems
}

// ValidateCreate is Validate for a create, which must say who the contact is.
func (p *Patch) ValidateCreate(r Rules) []FieldError {
	problems := p.Validate(r)
	identified := p.FullName != nil
	for _, f := range []Field{Email, Phone, FirstName, LastName, ExternalID} {
		s, _ := p.Text(f)
		identified = identified || (s != nil && *s != "")
	}
	if !identified {
		problems = append(problems, FieldError{
			Field: "", Code: ProblemRequired,
			Message: "a new contact needs one of email, phone, first_name, last_name, full_name or external_id",
		})
	}
	return problems
}

// Empty tells whether the patch has no member at all.
func (p *Patch) Empty() bool {
	return p.set == 0 && p.FullName == nil && p.NotesAppend == nil &&
		p.Tags == nil && p.TagsAdd == nil && p.TagsRemove == nil &&
		p.CustomFields == nil && p.Metadata == nil && p.MetadataMerge == nil &&
		p.EmailUnsubscribed == nil && p.SMSUnsubscribed == nil
}

// validator collects the problems of one patch.
type validator struct {
	patch    *Patch
	rules    Rules
	problems []FieldError
}

func (v *validator) add(field, code, message string) {
	v.problems = append(v.problems, FieldError{Field: field, Code: code, Message: message})
}

// text returns a text member to be checked further: false when it is absent,
// null, or has been found unfit to be stored at all.
func (v *validator) text(f Field) (string, bool) {
	s, _ := v.patch.Text(f)
	if s == nil {
		return "", false
	}
	return *s, v.storable(f.String(), *s)
}

// storable refuses what a text column cannot hold.
func (v *validator) storable(field, s string) bool {
	switch {
	case !utf8.ValidString(s):
		v.add(field, ProblemInvalidCharacters, "must be valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		v.add(field, ProblemInvalidCharacters, "must not hold the character U+0000")
	default:
		return true
	}
	return false
}

// normalize runs a rule over a text member; the rule's error completes the
// sentence "the value …".
func (v *validator) normalize(f Field, rule func(string) (string, error)) {
	s, ok := v.text(f)
	if !ok {
		return
	}
	stored, err := rule(s)
	if err != nil {
		v.add(f.String(), ProblemInvalidFormat, err.Error())
		return
	}
	v.patch.SetText(f, &stored)
}

// names checks first_name, last_name and full_name.
func (v *validator) names() {
	p := v.patch
	first, hasFirst := p.Text(FirstName)
	_, hasLast := p.Text(LastName)
	if hasFirst && first == nil {
		v.add("first_name", ProblemRequired, "cannot be null or empty; leave it out to keep it")
	}
	if s, ok := v.text(FirstName); ok {
		if s = strings.TrimSpace(s); s == "" {
			v.add("first_name", ProblemRequired, "cannot be null or empty; leave it out to keep it")
		}
		p.SetText(FirstName, &s)
	}
	if s, ok := v.text(LastName); ok {
		p.SetText(LastName, nonEmpty(strings.TrimSpace(s)))
	}
	if p.FullName == nil {
		return
	}
	if hasFirst || hasLast {
		v.add("full_name", ProblemConflict, "cannot stand together with first_name or last_name")
		return
	}
	v.splitFullName(*p.FullName)
}

// splitFullName makes first and last name of a full name: the last word is the
// last name, white space is folded, so that the join of both reads back as it
// was sent.
func (v *validator) splitFullName(full string) {
	if !v.storable("full_name", full) {
		return
	}
	words := strings.Fields(full)
	if len(words) == 0 {
		v.add("full_name", ProblemRequired, "cannot be blank; leave it out to keep the name")
		return
	}
	p, last := v.patch, len(words)-1
	p.FullName = nil
	if last == 0 {
		p.SetText(FirstName, &words[0])
		p.SetText(LastName, nil)
		return
	}
	first := strings.Join(words[:last], " ")
	p.SetText(FirstName, &first)
	p.SetText(LastName, &words[last])
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// addresses checks what identifies or reaches a person.
func (v *validator) addresses() {
	v.normalize(Email, NormalizeEmail)
	if v.rules.LaxPhone {
		v.normalize(Phone, normalizeLax)
	} else {
		v.normalize(Phone, normalizeMobile)
	}
	v.normalize(Landline, NormalizePhone)
	v.normalize(ContactOwner, NormalizeEmail)
	if s, ok := v.text(ExternalID); ok {
		if s == "" {
			v.add("external_id", ProblemRequired, "cannot be empty; send null to clear it")
		}
		if len(s) > maxExternalIDBytes {
			v.add("external_id", ProblemTooLong, "must have at most 255 bytes")
		}
	}
	if s, ok := v.text(DateOfBirth); ok {
		v.dateOfBirth(s)
	}
}

// dateOfBirth checks a day. What is tomorrow here may be today in the zone that
// is furthest ahead, UTC+14.
func (v *validator) dateOfBirth(s string) {
	day, err := time.Parse(time.DateOnly, s)
	switch {
	case err != nil || day.Year() < 1:
		v.add("date_of_birth", ProblemInvalidFormat, "must be a real day, written YYYY-MM-DD")
	case day.After(v.rules.Now.UTC().Add(14 * time.Hour)):
		v.add("date_of_birth", ProblemInFuture, "must not be in the future")
	}
}

// work checks what is said about a person's work and where the record is from.
func (v *validator) work() {
	v.maxCharacters(JobTitle, maxWorkCharacters, "must have at most 500 characters")
	v.maxCharacters(CompanyName, maxWorkCharacters, "must have at most 500 characters")
	v.maxCharacters(SourceField, maxSourceLength, "must have at most 100 characters")
	for _, f := range []Field{LinkedinURL, AvatarURL} {
		v.maxCharacters(f, maxURLCharacters, "must have at most 2048 characters")
		if s, ok := v.patch.Text(f); ok && s != nil && !isWebURL(*s) {
			v.add(f.String(), ProblemInvalidFormat, "must be an absolute http or https URL")
		}
	}
}

func (v *validator) maxCharacters(f Field, limit int, message string) {
	if s, ok := v.text(f); ok && len(s) > limit && utf8.RuneCountInString(s) > limit {
		v.add(f.String(), ProblemTooLong, message)
	}
}

// notes checks notes and notes_append. Their limit is the worker's: what is
// too long depends on what is there.
func (v *validator) notes() {
	v.text(Notes)
	if v.patch.NotesAppend == nil {
		return
	}
	v.storable("notes_append", *v.patch.NotesAppend)
	if _, replaces := v.patch.Text(Notes); replaces {
		v.add("notes_append", ProblemConflict, "cannot stand together with notes")
	}
}
