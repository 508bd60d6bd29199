package contact

import (
	"encoding/json"
	"slices"
)

// lazyObject is a JSON column that is parsed when a write first touches it and
// written when somebody looks.
type lazyObject struct {
	members object
	parsed  bool
	dirty   bool // members are ahead of the column
	changed bool // the column differs from what the batch began with
}

// objects are the JSON columns of a contact.
type objects struct{ metadata, custom lazyObject }

// read parses the column once.
func (l *lazyObject) read(column json.RawMessage) error {
	if l.parsed {
		return nil
	}
	members, err := parseObject(column)
	if err != nil {
		return &Error{Code: CodeDataError, Message: "the stored object cannot be read", Err: err}
	}
	l.members, l.parsed = members, true
	return nil
}

// write brings the column up to date.
func (l *lazyObject) write(column *json.RawMessage) {
	if l.dirty {
		*column, l.dirty = l.members.json(), false
	}
}

// customFields merges by key; null removes.
func (a *attempt) customFields() error {
	if len(a.write.Patch.CustomFields) == 0 {
		return nil
	}
	l := &a.objects.custom
	if err := l.read(a.next.CustomFields); err != nil {
		return err
	}
	edits := make([]member, 0, len(a.write.Patch.CustomFields))
	for name, raw := range a.write.Patch.CustomFields {
		value, err := canonical(raw)
		if err != nil {
			return fail(CodeValidationFailed, "a custom field "+err.Error())
		}
		e := member{name: appendString(nil, name), value: value}
		if isNull(value) {
			e.value = nil
		}
		if string(l.members.find(e.name)) != string(e.value) {
			edits = append(edits, e)
		}
	}
	slices.SortFunc(edits, func(x, y member) int { return compareNames(x.name, y.name) })
	return a.edit(l, "custom_fields.", edits)
}

// metadata replaces the object or merges into it.
func (a *attempt) metadata() error {
	p, merge := a.write.Patch.Metadata, a.write.Patch.MetadataMerge
	if p == nil && merge == nil {
		return nil
	}
	l := &a.objects.metadata
	if err := l.read(a.next.Metadata); err != nil {
		return err
	}
	var edits []member
	if p != nil {
		by, err := parseObject(p)
		if err != nil {
			return fail(CodeValidationFailed, "metadata "+err.Error())
		}
		edits = l.members.replaceEdits(by)
	} else {
		by, err := parseObject(merge)
		if err != nil {
			return fail(CodeValidationFailed, "metadata_merge "+err.Error())
		}
		edits = l.members.mergeEdits(by)
	}
	return a.edit(l, "metadata.", edits)
}

// edit applies edits to an object: one change for each, under the prefix.
func (a *attempt) edit(l *lazyObject, prefix string, edits []member) error {
	kept := edits[:0]
	for _, e := range edits {
		field := prefix + unquote(e.name)
		if a.skips(field) {
			continue
		}
		old := l.members.find(e.name)
		a.change(field, editOp(old, e.value), a.orNull(old), a.orNull(e.value))
		kept = append(kept, e)
	}
	if len(kept) == 0 {
		return nil
	}
	l.members = l.members.with(kept)
	l.dirty, l.changed = true, true
	if l.members.size() > MaxObjectBytes {
		return fail(CodeLimitExceeded, prefix[:len(prefix)-1]+" would be longer than 64 KiB")
	}
	return nil
}

// editOp returns how a change of a member is logged. In a set, null on either
// side stands for an absent member. A member that is there and null needs more
// words: it is added, or what follows it is added, or it is removed.
func editOp(old, value []byte) Op {
	switch {
	case value == nil && old != nil && isNull(old):
		return OpRemove
	case value != nil && (isNull(value) || (old != nil && isNull(old))):
		return OpAdd
	default:
		return OpSet
	}
}

func (f *folder) orNull(value []byte) json.RawMessage {
	if value == nil {
		return f.null
	}
	return value
}
