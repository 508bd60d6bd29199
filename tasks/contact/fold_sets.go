package contact

import (
	"encoding/json"
	"slices"
)

// tags replaces the tags, or adds and removes some.
func (a *attempt) tags() error {
	p, old := &a.write.Patch, a.next.Tags
	if p.Tags != nil {
		if slices.Equal(old, p.Tags) || a.skips("tags") {
			return nil
		}
		from := a.null
		if a.state.exists {
			from = a.quoteAll(old)
		}
		a.change("tags", OpSet, from, a.quoteAll(p.Tags))
		a.next.Tags = p.Tags
		return a.tagLimit()
	}
	added := addTags(old, p.TagsAdd)
	kept, removed := removeTags(old, p.TagsRemove)
	if (len(added) == 0 && len(removed) == 0) || a.skips("tags") {
		return nil
	}
	if len(removed) > 0 {
		a.change("tags", OpRemove, a.quoteAll(removed), a.null)
	}
	if len(added) > 0 {
		a.change("tags", OpAdd, a.null, a.quoteAll(added))
	}
	a.next.Tags = slices.Concat([]string{}, kept, added)
	return a.tagLimit()
}

func (a *attempt) tagLimit() error {
	if len(a.next.Tags) > MaxTags {
		return fail(CodeLimitExceeded, "the contact would have more than 1000 tags")
	}
	return nil
}

func (f *folder) quoteAll(list []string) json.RawMessage {
	n := 2
	for _, s := range list {
		n += len(s) + 4
	}
	return f.keepText(n, func(dst []byte) []byte { return appendStrings(dst, list) })
}
