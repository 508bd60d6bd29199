package dialect

import (
	"slices"
	"strings"
	"testing"

	"patchlane/tasks/contact"
)

// A member that only other dialects have is refused under the name that was sent,
// and the answer says whose it is.
func TestABodyOfAnotherDialectIsToldSo(t *testing.T) {
	t.Parallel()
	for _, d := range All() {
		own := d.Traits().Name
		known := slices.IndexFunc(vocabularies(), func(v vocabulary) bool { return v.speaks == own })
		for _, other := range vocabularies() {
			for _, member := range other.members {
				if slices.Contains(vocabularies()[known].members, member) {
					continue
				}
				b, err := decode(d, `{"`+member+`":"x"}`)
				if err != nil {
					t.Fatal(err)
				}
				named := slices.ContainsFunc(b.Fields, func(f contact.FieldError) bool {
					return f.Field == member && strings.Contains(f.Message, other.speaks)
				})
				if !named || !b.Patch.Empty() {
					t.Errorf("%s reads %s: %+v %+v", own, member, b.Fields, b.Patch)
				}
				answer, _ := d.Problem(&Problem{Status: 400, Code: contact.CodeValidationFailed, Fields: b.Fields})
				text := string(answer)
				if !strings.Contains(text, `"`+member+`"`) && !strings.Contains(text, member+": ") || !strings.Contains(text, other.speaks) {
					t.Errorf("%s answers to %s: %s", own, member, text)
				}
			}
		}
	}
}
