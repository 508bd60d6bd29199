package contact

import (
	"bytes"
	"errors"
	"slices"
)

// errNotObject says that a JSON value is something else than an object.
var errNotObject = errors.New("is not a JSON object")

// member is one member of an object: name is its JSON string, value its JSON,
// both canonical. A nil value in a list of edits removes the member.
type member struct{ name, value []byte }

// object is a JSON object in canonical form. Its members are ordered by name
// and never changed in place, so copies may share them.
type object []member

// parseObject reads a JSON object in any spelling; nothing at all is empty.
func parseObject(src []byte) (object, error) {
	if len(src) == 0 {
		return nil, nil
	}
	form, err := canonical(src)
	if err != nil {
		return nil, err
	}
	return splitObject(form)
}

// splitObject returns the members of an object in canonical form.
func splitObject(form []byte) (object, error) {
	if form[0] != '{' {
		return nil, errNotObject
	}
	var o object
	for i := 1; form[i] != '}'; {
		if form[i] == ',' {
			i++
		}
		colon := skipValue(form, i)
		end := skipValue(form, colon+1)
		o = append(o, member{name: form[i:colon:colon], value: form[colon+1 : end : end]})
		i = end
	}
	return o, nil
}

// skipValue returns where the value at i of a canonical form ends.
func skipValue(form []byte, i int) int {
	for depth := 0; i < len(form); i++ {
		switch form[i] {
		case '"':
			for i++; form[i] != '"'; i++ {
				if form[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']', ',', ':':
			if depth == 0 {
				return i
			}
			if form[i] == '}' || form[i] == ']' {
				depth--
			} else {
				continue
			}
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// find returns the value of a member, nil if there is none.
func (o object) find(name []byte) []byte {
	i, found := slices.BinarySearchFunc(o, name, func(m member, name []byte) int {
		return compareNames(m.name, name)
	})
	if !found {
		return nil
	}
	return o[i].value
}

// size is the length of the canonical form.
func (o object) size() int {
	n := 1 + max(1, len(o))
	for _, m := range o {
		n += len(m.name) + 1 + len(m.value)
	}
	return n
}

// json returns the canonical form.
func (o object) json() []byte {
	dst := append(make([]byte, 0, o.size()), '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, m.name...), ':'), m.value...)
	}
	return append(dst, '}')
}

// with returns the object after edits, which are ordered like members.
func (o object) with(edits []member) object {
	out := make(object, 0, len(o)+len(edits))
	for _, e := range edits {
		for len(o) > 0 && compareNames(o[0].name, e.name) < 0 {
			out, o = append(out, o[0]), o[1:]
		}
		if len(o) > 0 && bytes.Equal(o[0].name, e.name) {
			o = o[1:]
		}
		if e.value != nil {
			out = append(out, e)
		}
	}
	return append(out, o...)
}

// replaceEdits lists what turns o into another object.
func (o object) replaceEdits(by object) []member {
	var edits []member
	for len(o) > 0 || len(by) > 0 {
		switch {
		case len(by) == 0 || (len(o) > 0 && compareNames(o[0].name, by[0].name) < 0):
			edits, o = append(edits, member{name: o[0].name}), o[1:]
		case len(o) == 0 || compareNames(o[0].name, by[0].name) > 0:
			edits, by = append(edits, by[0]), by[1:]
		default:
			if !bytes.Equal(o[0].value, by[0].value) {
				edits = append(edits, by[0])
			}
			o, by = o[1:], by[1:]
		}
	}
	return edits
}

// mergeEdits lists what an RFC 7396 merge patch does to the members of o.
func (o object) mergeEdits(patch object) []member {
	var edits []member
	for _, p := range patch {
		old := o.find(p.name)
		if value := mergeValue(old, p.value); !bytes.Equal(value, old) {
			edits = append(edits, member{name: p.name, value: value})
		}
	}
	return edits
}

// mergeValue returns what a merge patch makes of one canonical value; nil is
// an absent member on both sides.
func mergeValue(old, patch []byte) []byte {
	if isNull(patch) {
		return nil
	}
	changes, err := splitObject(patch)
	if err != nil {
		return patch
	}
	var target object
	if len(old) > 0 {
		// RFC 7396, section 2: a target that is no object counts as an empty one.
		target, _ = splitObject(old)
	}
	return target.with(target.mergeEdits(changes)).json()
}
