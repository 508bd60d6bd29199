package store

import (
	"encoding/json"

	"patchlane/tasks/contact"
)

// tagsJSON is the stored form of tags.
func tagsJSON(tags []string) *string {
	if len(tags) == 0 {
		return jsonText([]string{})
	}
	return jsonText(tags)
}

// objectJSON is the stored form of custom fields or metadata.
func objectJSON(object json.RawMessage) *string {
	s := "{}"
	if len(object) > 0 {
		s = string(object)
	}
	return &s
}

// changesJSON is the audit of a write; nil when it changed nothing.
func changesJSON(changes []contact.Change) *string {
	if len(changes) == 0 {
		return nil
	}
	s := string(contact.AppendChanges(nil, changes))
	return &s
}

// skipsJSON are the members that a write left out on purpose; nil for none.
func skipsJSON(skips []contact.Skip) *string {
	if len(skips) == 0 {
		return nil
	}
	return jsonText(skips)
}

// jsonText marshals values that are made of strings and valid JSON. Should one
// be neither, Postgres gets a text that it refuses as data, so that the write
// is found and recorded instead of stopping its lane.
func jsonText(v any) *string {
	b, err := json.Marshal(v)
	s := string(b)
	if err != nil {
		s = "unreadable"
	}
	return &s
}
