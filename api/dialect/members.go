package dialect

import (
	"slices"
	"strings"

	"patchlane/tasks/contact"
)

// vocabulary is the set of members that the bodies of a dialect have.
type vocabulary struct {
	speaks  string
	members []string
}

// vocabularies lists what every dialect's bodies have, so that a body which is
// right for another dialect can be told so.
func vocabularies() []vocabulary {
	return []vocabulary{
		{"native", []string{
			"first_name", "last_name", "full_name", "email", "phone", "landline", "date_of_birth", "job_title",
			"company_name", "linkedin_url", "avatar_url", "contact_owner", "external_id", "source",
			"notes", "notes_append", "tags", "tags_add", "tags_remove", "custom_fields",
			"metadata", "metadata_merge", "email_unsubscribed", "sms_unsubscribed", "as_of",
		}},
		{"trustpager", []string{
			"first_name", "last_name", "email", "phone", "landline", "date_of_birth", "notes",
			"metadata", "email_unsubscribed", "sms_unsubscribed",
		}},
		{"routera", []string{"fields"}},
		{"leadlex", []string{
			"full_name", "email", "phone", "job_title", "company_name", "linkedin_url", "notes",
		}},
		{"callbell", []string{"name", "tags", "custom_fields"}},
	}
}

// unknownMember says that a dialect's bodies have no such member, and whose
// have. It repeats the name only if it is one of ours.
func unknownMember(speaks, name string) string {
	var others []string
	for _, v := range vocabularies() {
		if v.speaks != speaks && slices.Contains(v.members, name) {
			others = append(others, v.speaks)
		}
	}
	switch {
	case len(others) == 0:
		return "There is no such member; names are lower-case and exact."
	default:
		return "There is no such member in the bodies of " + speaks + ", which this key speaks; " +
			name + " is a member in those of " + strings.Join(others, " and ") + "."
	}
}

// summary tells what is wrong in one sentence: the detail, then each problem
// under the name that the client sent.
func summary(p *Problem, fields []contact.FieldError) string {
	const most = 10
	var b strings.Builder
	b.WriteString(p.Detail)
	for i, f := range fields {
		switch {
		case i == most:
			b.WriteString("; and more")
			return b.String()
		case i > 0:
			b.WriteByte(';')
		}
		b.WriteByte(' ')
		if f.Field != "" {
			b.WriteString(f.Field + ": ")
		}
		b.WriteString(strings.TrimSuffix(f.Message, "."))
	}
	return b.String()
}

// renamed returns the problems of a field of ours under the name by which the
// dialect's clients know it. What they may not send has the name that they sent.
func renamed(fields []contact.FieldError, ours, theirs string) []contact.FieldError {
	out := make([]contact.FieldError, len(fields))
	for i, f := range fields {
		if f.Field == ours && f.Code != contact.ProblemUnknown {
			f.Field = theirs
		}
		out[i] = f
	}
	return out
}

// fieldTexts turns problems into {field: text}; several problems of one field
// are joined.
func fieldTexts(fields []contact.FieldError) map[string]string {
	texts := make(map[string]string, len(fields))
	for _, f := range fields {
		if before, found := texts[f.Field]; found {
			texts[f.Field] = before + "; " + f.Message
			continue
		}
		texts[f.Field] = f.Message
	}
	return texts
}

// answerJSON writes the answer to an error. Every string of a problem is ours
// but the field names, which may not be writable: the fallback then keeps the
// answer well-formed.
func answerJSON(v any, fallback string) (body []byte, mediaType string) {
	const media = "application/json"
	body, err := marshal(v)
	if err != nil {
		return []byte(fallback + "\n"), media
	}
	return body, media
}
