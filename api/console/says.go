package console

import (
	"encoding/json"
	"maps"
	"slices"

	"patchlane/tasks/contact"
)

// member is one member of the body of a write.
type member struct {
	Name  string
	Value []byte
}

// saysOf lists what a write says, member by member.
func saysOf(w *contact.Write) []member {
	var list []member
	add := func(name string, value any) {
		raw, err := json.Marshal(value)
		if err != nil {
			raw = []byte("(cannot be shown)")
		}
		list = append(list, member{name, raw})
	}
	p := &w.Patch
	for f := range contact.NumFields {
		if v, present := p.Text(f); present {
			add(f.String(), v)
		}
	}
	if p.NotesAppend != nil {
		add("notes_append", p.NotesAppend)
	}
	for _, tags := range []struct {
		name string
		list []string
	}{{"tags", p.Tags}, {"tags_add", p.TagsAdd}, {"tags_remove", p.TagsRemove}} {
		if tags.list != nil {
			add(tags.name, tags.list)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.CustomFields)) {
		list = append(list, member{"custom_fields." + name, p.CustomFields[name]})
	}
	for _, object := range []member{{"metadata", p.Metadata}, {"metadata_merge", p.MetadataMerge}} {
		if object.Value != nil {
			list = append(list, object)
		}
	}
	if p.EmailUnsubscribed != nil {
		add("email_unsubscribed", p.EmailUnsubscribed)
	}
	if p.SMSUnsubscribed != nil {
		add("sms_unsubscribed", p.SMSUnsubscribed)
	}
	if w.IfMatch != nil {
		add("If-Match", w.IfMatch)
	}
	return list
}
