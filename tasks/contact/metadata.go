package contact

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// quickLinks is the reserved member of metadata: {uuid: URL}.
const quickLinks = `"quick_links"`

// metadata checks metadata and metadata_merge and respells them canonically.
func (v *validator) metadata() {
	p := v.patch
	p.Metadata = v.metadataObject("metadata", p.Metadata, false)
	p.MetadataMerge = v.metadataObject("metadata_merge", p.MetadataMerge, true)
	if p.Metadata != nil && p.MetadataMerge != nil {
		v.add("metadata_merge", ProblemConflict, "cannot stand together with metadata")
	}
}

// metadataObject checks one of the two; in a merge patch a null is a removal.
func (v *validator) metadataObject(field string, raw json.RawMessage, merge bool) json.RawMessage {
	if raw == nil {
		return nil
	}
	form, err := canonical(raw)
	if err != nil {
		v.add(field, problemOfJSON(err), err.Error())
		return raw
	}
	members, err := splitObject(form)
	if err != nil {
		v.add(field, ProblemInvalidType, "must be an object")
		return raw
	}
	if len(form) > MaxObjectBytes {
		v.add(field, ProblemTooLong, "must have at most 64 KiB")
	}
	for _, m := range members {
		switch {
		case string(m.name) == quickLinks:
			v.quickLinks(field+".quick_links", m.value, merge)
		case isUUID(unquote(m.name)):
			v.add(field, ProblemInvalidFormat, "must not have keys that look like a UUID, except inside quick_links")
			return form
		}
	}
	return form
}

// problemOfJSON returns the code for a JSON value that cannot be stored.
func problemOfJSON(err error) string {
	switch {
	case errors.Is(err, errJSONNUL), errors.Is(err, errJSONSurrogate), errors.Is(err, errJSONUTF8):
		return ProblemInvalidCharacters
	case errors.Is(err, errJSONDuplicate):
		return ProblemDuplicate
	default:
		return ProblemInvalidFormat
	}
}

// quickLinks checks the value of the reserved member.
func (v *validator) quickLinks(field string, value []byte, merge bool) {
	if merge && isNull(value) {
		return
	}
	links, err := splitObject(value)
	if err != nil {
		v.add(field, ProblemInvalidType, "must be an object of UUIDs and URLs")
		return
	}
	badKey, badValue := false, false
	for _, l := range links {
		badKey = badKey || !isUUID(unquote(l.name))
		removes := merge && isNull(l.value)
		badValue = badValue || (!removes && !isQuickLink(l.value))
	}
	if badKey {
		v.add(field, ProblemInvalidFormat, "must have UUIDs as keys")
	}
	if badValue {
		v.add(field, ProblemInvalidFormat, "must have absolute http or https URLs as values")
	}
}

func isQuickLink(value []byte) bool {
	return value[0] == '"' && utf8.RuneCount(value) <= maxURLCharacters+2 && isWebURL(unquote(value))
}

// isUUID tells whether s looks like a UUID: 36 characters, dashes in place.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	_, err := uuid.Parse(s)
	return err == nil
}

// customFields checks the names and the kinds of values. Which fields exist,
// and of which type each is, is known to the account's definitions.
func (v *validator) customFields() {
	if v.patch.CustomFields == nil {
		return
	}
	size := 0
	clean := make(map[string]json.RawMessage, len(v.patch.CustomFields))
	for _, name := range slices.Sorted(maps.Keys(v.patch.CustomFields)) {
		field := "custom_fields"
		if !v.storable(field, name) {
			continue
		}
		if name == "" || utf8.RuneCountInString(name) > maxNameCharacters {
			v.add(field, ProblemInvalidFormat, "must have names of 1 to 255 characters")
			continue
		}
		field += "." + name
		form, err := canonical(v.patch.CustomFields[name])
		switch {
		case err != nil:
			v.add(field, problemOfJSON(err), err.Error())
		case strings.ContainsRune("{[", rune(form[0])):
			v.add(field, ProblemInvalidType, "must be a string, a number, a boolean or null")
		}
		clean[name] = form
		size += len(name) + len(form)
	}
	if size > MaxObjectBytes {
		v.add("custom_fields", ProblemTooLong, "must have at most 64 KiB together")
	}
	v.patch.CustomFields = clean
}
