package contact

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Rewind undoes later writes on a contact, so that it reads as of an older
// version. later holds the ledger's rows of all versions above that one, the
// newest first; rows that changed nothing may be among them.
//
// What the log does not know does not come back: UpdatedAt is left to the
// caller, who finds it in the row of the older version; a tag that was removed
// returns at the end of the list; the clocks of consent show the older flag and
// reason and nothing more, so a rewound contact is to be read, never written.
func Rewind(c *Contact, later []Record) {
	r := rewinder{Contact: c}
	for _, record := range later {
		if len(record.Changes) == 0 {
			continue
		}
		for _, ch := range slices.Backward(record.Changes) {
			r.undo(&ch)
		}
		c.Version = record.Version - 1
	}
	r.metadata.write(&c.Metadata)
	r.custom.write(&c.CustomFields)
	r.email.write(&c.EmailConsent)
	r.sms.write(&c.SMSConsent)
}

// rewinder is a contact on its way back.
type rewinder struct {
	*Contact
	metadata, custom lazyObject
	email, sms       rewoundConsent
}

// undo takes one change back.
func (r *rewinder) undo(ch *Change) {
	if f, ok := ParseField(ch.Field); ok {
		r.undoText(f, ch)
		return
	}
	if key, ok := strings.CutPrefix(ch.Field, "metadata."); ok {
		undoMember(&r.metadata, r.Metadata, key, ch)
		return
	}
	if name, ok := strings.CutPrefix(ch.Field, "custom_fields."); ok {
		undoMember(&r.custom, r.CustomFields, name, ch)
		return
	}
	switch ch.Field {
	case "tags":
		r.undoTags(ch)
	case "archived_at":
		r.ArchivedAt = timeOf(ch.Old)
	case "archived_by":
		r.ArchivedBy = textOf(ch.Old)
	case "email_unsubscribed":
		r.email.set = true
	case "email_unsubscribed_reason":
		r.email = rewoundConsent{set: true, reason: textOf(ch.Old)}
	case "sms_unsubscribed":
		r.sms.set = true
	case "sms_unsubscribed_reason":
		r.sms = rewoundConsent{set: true, reason: textOf(ch.Old)}
	}
}

func (r *rewinder) undoText(f Field, ch *Change) {
	if ch.Op != OpAppend {
		r.Text[f] = textOf(ch.Old)
		return
	}
	now, appended := r.Text[f], textOf(ch.New)
	if now == nil || appended == nil {
		return
	}
	rest, _ := strings.CutSuffix(*now, *appended)
	if rest == "" {
		r.Text[f] = nil // an append to empty notes that are not NULL is logged as set
		return
	}
	rest = strings.TrimSuffix(rest, "\n")
	r.Text[f] = &rest
}

func (r *rewinder) undoTags(ch *Change) {
	switch ch.Op {
	case OpAdd:
		r.Tags, _ = removeTags(r.Tags, tagsOf(ch.New))
	case OpRemove:
		r.Tags = append(slices.Clip(r.Tags), tagsOf(ch.Old)...)
	default:
		r.Tags = tagsOf(ch.Old)
	}
	if r.Tags == nil {
		r.Tags = []string{}
	}
}

// undoMember takes back a change of one member of an object; see editOp for
// what the operations mean.
func undoMember(l *lazyObject, column json.RawMessage, name string, ch *Change) {
	old, err := canonical(ch.Old)
	if err != nil || l.read(column) != nil {
		return
	}
	absent := isNull(old)
	if ch.Op == OpRemove || (ch.Op == OpAdd && !isNull(ch.New)) {
		absent = false
	}
	if absent {
		old = nil
	}
	l.members = l.members.with([]member{{name: appendString(nil, name), value: old}})
	l.dirty = true
}

// rewoundConsent is the flag and reason that a channel had.
type rewoundConsent struct {
	set    bool
	reason *string
}

// write makes a clock that shows the flag and the reason.
func (r rewoundConsent) write(clock *Consent) {
	if !r.set {
		return
	}
	*clock = Consent{}
	if r.reason == nil {
		return
	}
	if cause, ok := ParseCause(*r.reason); ok {
		clock.Out[cause] = 1
	}
}

// textOf returns the string in a change, nil for null.
func textOf(v json.RawMessage) *string {
	if isNull(v) {
		return nil
	}
	s := unquote(v)
	return &s
}

func timeOf(v json.RawMessage) *time.Time {
	s := textOf(v)
	if s == nil {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}

// tagsOf returns the tags in a change, none for null.
func tagsOf(v json.RawMessage) []string {
	var tags []string
	if json.Unmarshal(v, &tags) != nil {
		return nil
	}
	return tags
}
