package contact

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxUndefined bounds the problems that Check reports, so that a body of
// nonsense is not answered by a longer one.
const maxUndefined = 100

// These complete the sentence "tags[0] …".
const (
	notDefined = "is not defined in the account's settings"
	noLonger   = notDefined + " any more"
)

// UsesDefinitions tells whether the patch names what an account must have
// defined. Tags to be removed need no definition: removing what nobody has
// changes nothing, and it is how a tag leaves whose definition is gone.
func (p *Patch) UsesDefinitions() bool {
	return len(p.Tags)+len(p.TagsAdd)+len(p.CustomFields) > 0
}

// Knows tells whether everything that the patch names is defined, whether the
// values fit or not.
func (d *Definitions) Knows(p *Patch) bool {
	for _, tags := range [][]string{p.Tags, p.TagsAdd} {
		for _, t := range tags {
			if _, ok := d.Tag(t); !ok {
				return false
			}
		}
	}
	for name := range p.CustomFields {
		if _, ok := d.Field(name); !ok {
			return false
		}
	}
	return true
}

// Check returns a problem for every tag and custom field that is not defined,
// and for every value that is not of its field's type. The patch is as it was
// decoded, so that a problem has the place that the client knows. What Validate
// reports about a value is not reported here again, and no text of a problem
// holds a value.
func (d *Definitions) Check(p *Patch) []FieldError {
	var problems []FieldError
	add := func(field, code, message string) {
		if len(problems) < maxUndefined {
			problems = append(problems, FieldError{Field: field, Code: code, Message: message})
		}
	}
	for _, list := range []struct {
		field string
		tags  []string
	}{{"tags", p.Tags}, {"tags_add", p.TagsAdd}} {
		for i, t := range list.tags {
			if _, ok := d.Tag(t); !ok && strings.TrimSpace(t) != "" {
				add(list.field+"["+strconv.Itoa(i)+"]", ProblemUnknown, notDefined)
			}
		}
	}
	named := make(map[string]bool, len(p.CustomFields))
	for _, name := range slices.Sorted(maps.Keys(p.CustomFields)) {
		field := "custom_fields." + clipName(name)
		f, ok := d.Field(name)
		switch {
		case !ok:
			add(field, ProblemUnknown, notDefined)
			continue
		case named[f.InternalName]:
			add(field, ProblemDuplicate, "names a custom field that another member names too")
		}
		named[f.InternalName] = true
		if value, err := canonical(p.CustomFields[name]); err == nil {
			if code, problem := f.Type.misfit(value); problem != "" {
				add(field, code, problem)
			}
		}
	}
	return problems
}

// clipName cuts the name of a member that a client made up.
func clipName(name string) string {
	if len(name) <= maxNameCharacters {
		return name
	}
	cut := maxNameCharacters
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}

// Resolve gives tags the spelling of their definitions and custom fields their
// internal names. The patch came out of Check and Validate without a problem.
func (d *Definitions) Resolve(p *Patch) {
	p.Tags, p.TagsAdd = d.spell(p.Tags), d.spell(p.TagsAdd)
	if p.CustomFields == nil {
		return
	}
	fields := make(map[string]json.RawMessage, len(p.CustomFields))
	for name, value := range p.CustomFields {
		if f, ok := d.Field(name); ok {
			name = f.InternalName
		}
		fields[name] = value
	}
	p.CustomFields = fields
}

// spell returns tags in the spelling of their definitions: the same slice when
// they have it already.
func (d *Definitions) spell(tags []string) []string {
	spelled := tags
	for i, t := range tags {
		name, ok := d.Tag(t)
		if !ok || name == t {
			continue
		}
		if &spelled[0] == &tags[0] {
			spelled = slices.Clone(tags)
		}
		spelled[i] = name
	}
	return spelled
}

// misfit says why a canonical JSON value is not of the type, with the code of
// the problem; "": it is. null fits every type, and objects and arrays are
// refused by Validate.
func (t FieldType) misfit(value []byte) (code, problem string) {
	if isNull(value) || value[0] == '{' || value[0] == '[' {
		return "", ""
	}
	isString := value[0] == '"'
	switch t {
	case NumberField:
		return ProblemInvalidType, unless(value[0] == '-' || ('0' <= value[0] && value[0] <= '9'), "must be a number or null")
	case BooleanField:
		return ProblemInvalidType, unless(value[0] == 't' || value[0] == 'f', "must be true, false or null")
	case DateField:
		return formatOf(isString), unless(isString && isDay(unquote(value)), "must be a real day, written YYYY-MM-DD, or null")
	case URLField:
		return formatOf(isString), unless(isString && isQuickLink(value),
			"must be an absolute http or https URL of at most 2048 characters, or null")
	default:
		return ProblemInvalidType, unless(isString, "must be a string or null")
	}
}

// unless returns a problem, "" when all is well.
func unless(well bool, problem string) string {
	if well {
		return ""
	}
	return problem
}

// formatOf is the code for a string that is none of its kind, or for what is no
// string.
func formatOf(isString bool) string {
	if isString {
		return ProblemInvalidFormat
	}
	return ProblemInvalidType
}

// isDay tells whether s is a day of the calendar, written YYYY-MM-DD.
func isDay(s string) bool {
	day, err := time.Parse(time.DateOnly, s)
	return err == nil && day.Year() >= 1
}

// undefined looks whether what a stored patch names is still defined, and
// whether its values still fit. Removing a value needs no definition. It
// returns the place of the first problem and what it is; "": there is none.
func (d *Definitions) undefined(p *Patch) (field, problem string) {
	for i, t := range p.Tags {
		if _, ok := d.Tag(t); !ok {
			return "tags[" + strconv.Itoa(i) + "]", noLonger
		}
	}
	for i, t := range p.TagsAdd {
		if _, ok := d.Tag(t); !ok {
			return "tags_add[" + strconv.Itoa(i) + "]", noLonger
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.CustomFields)) {
		value, err := canonical(p.CustomFields[name])
		if err != nil || isNull(value) {
			continue
		}
		f, ok := d.fields[name]
		if !ok {
			return "custom_fields." + name, noLonger
		}
		if _, problem := f.Type.misfit(value); problem != "" {
			return "custom_fields." + name, problem
		}
	}
	return "", ""
}

// defined fails a write that names a tag or custom field whose definition is
// gone since the write was accepted, or is another. A tag that was defined anew
// gets the new spelling.
func (a *attempt) defined() error {
	if a.Definitions == nil || !a.write.Patch.UsesDefinitions() {
		return nil
	}
	d := a.Definitions[a.write.Account]
	if d == nil {
		d = NewDefinitions(Settings{})
	}
	if field, problem := d.undefined(&a.write.Patch); problem != "" {
		return fail(CodeValidationFailed, field+" "+problem)
	}
	spelled := *a.write
	p := &spelled.Patch
	p.Tags, p.TagsAdd = d.spell(p.Tags), d.spell(p.TagsAdd)
	a.write = &spelled
	return nil
}
