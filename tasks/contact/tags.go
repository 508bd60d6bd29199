package contact

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TagKey returns the form in which two tags are compared: without case. Keys
// are equal exactly if strings.EqualFold holds.
func TagKey(tag string) string {
	if isASCII(tag) {
		return strings.ToLower(tag)
	}
	return strings.Map(func(r rune) rune {
		least := r
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			least = min(least, o)
		}
		return unicode.ToLower(least)
	}, tag)
}

// tags checks the three members for tags and drops what they name twice.
func (v *validator) tags() {
	p := v.patch
	p.Tags = v.tagList("tags", p.Tags)
	p.TagsAdd = v.tagList("tags_add", p.TagsAdd)
	p.TagsRemove = v.tagList("tags_remove", p.TagsRemove)
	if p.Tags != nil && (p.TagsAdd != nil || p.TagsRemove != nil) {
		v.add("tags", ProblemConflict, "cannot stand together with tags_add or tags_remove")
	}
	add := tagSet(p.TagsAdd)
	for _, t := range p.TagsRemove {
		if add[TagKey(t)] {
			v.add("tags_remove", ProblemConflict, "cannot name a tag that tags_add names")
			break
		}
	}
}

// tagList checks one list; of two tags that differ in case alone the first
// stays. nil stays nil.
func (v *validator) tagList(field string, tags []string) []string {
	if tags == nil {
		return nil
	}
	for _, t := range tags {
		if !v.storable(field, t) {
			return tags
		}
		if strings.TrimSpace(t) == "" {
			v.add(field, ProblemRequired, "must not hold a blank tag")
			return tags
		}
		if utf8.RuneCountInString(t) > maxTagCharacters {
			v.add(field, ProblemTooLong, "must hold tags of at most 255 characters")
			return tags
		}
	}
	unique := addTags(nil, tags)
	if len(unique) > MaxTags {
		v.add(field, ProblemTooMany, "must hold at most 1000 tags")
	}
	if unique == nil {
		unique = []string{}
	}
	return unique
}

// tagSet returns the keys of tags.
func tagSet(tags []string) map[string]bool {
	set := make(map[string]bool, len(tags))
	for _, t := range tags {
		set[TagKey(t)] = true
	}
	return set
}

// addTags returns those of more that are not among tags, in order and each
// once.
func addTags(tags, more []string) []string {
	if len(more) == 0 {
		return nil
	}
	set := tagSet(tags)
	var added []string
	for _, t := range more {
		if key := TagKey(t); !set[key] {
			set[key] = true
			added = append(added, t)
		}
	}
	return added
}

// removeTags splits tags into those that stay and those that less names; both
// keep their order and spelling.
func removeTags(tags, less []string) (kept, removed []string) {
	if len(less) == 0 || len(tags) == 0 {
		return tags, nil
	}
	set := tagSet(less)
	for _, t := range tags {
		if set[TagKey(t)] {
			removed = append(removed, t)
		} else {
			kept = append(kept, t)
		}
	}
	return kept, removed
}
