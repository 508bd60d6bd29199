package contact

import "encoding/json"

// Patch is the canonical change: what every dialect's body is translated to.
// Absent, null and a value are three things: a text field is absent unless its
// bit is in the set, null when its value is nil.
//
// A Patch that came out of Validate is safe to store: every value fits its
// column, no string holds NUL or invalid UTF-8.
type Patch struct {
	set  uint32
	text [NumFields]*string

	// FullName is split into first and last name by Validate, which leaves it
	// nil; nil: absent.
	FullName *string
	// NotesAppend is appended by the worker with one "\n" between; nil: absent.
	NotesAppend *string
	// Tags replaces when it is not nil (an empty list clears).
	Tags []string
	// TagsAdd and TagsRemove are set operations evaluated by the worker.
	TagsAdd, TagsRemove []string
	// CustomFields merges by key; a JSON null removes. nil: absent.
	CustomFields map[string]json.RawMessage
	// Metadata replaces the whole object; nil: absent.
	Metadata json.RawMessage
	// MetadataMerge is an RFC 7396 merge patch; nil: absent.
	MetadataMerge json.RawMessage
	// EmailUnsubscribed and SMSUnsubscribed are consent; nil: absent.
	EmailUnsubscribed, SMSUnsubscribed *bool
}

// SetText sets a text field; nil stores NULL.
func (p *Patch) SetText(f Field, v *string) {
	p.set |= 1 << f
	p.text[f] = v
}

// Text returns the value of a text field and whether the patch has it.
func (p *Patch) Text(f Field) (v *string, present bool) {
	return p.text[f], p.set&(1<<f) != 0
}
