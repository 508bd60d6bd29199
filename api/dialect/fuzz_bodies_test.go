package dialect

import (
	"testing"

	"patchlane/tasks/contact"
)

// fuzzBatch is small, so that the fuzzer reaches it.
const fuzzBatch = 5

// FuzzBodies reads one body as everything that is the same in every dialect: it
// is read, or every problem is one that a client is told.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"name":"VIP"}`, `{"internal_name":"score","label":"Score","type":"number"}`, `{"provider":"twilio","secret":"x","secrets":["a","b"]}`,
		`{"channel":"sms","address":"+4915123456789","reason":"manual"}`, `{"contact_id":"0194d3c0-0000-7000-8000-000000000000"}`, `{"force":true}`, `{}`, ``,
		`{"writes":[{"id":"x","patch":{"notes":"n"},"if_match":"7"},{"patch":{}},7,null]}`, `{"writes":[1,2,3,4,5,6]}`, `{"name":"\u0000","name":"b"}`, `[`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		told := func(what string, fields []contact.FieldError, err error) {
			t.Helper()
			if code := contact.CodeOf(err); err != nil && code != contact.CodeInvalidJSON && code != contact.CodeInvalidBody && code != contact.CodeValidationFailed && code != contact.CodePayloadTooLarge {
				t.Errorf("%s: %v", what, err)
			}
			for _, problem := range fields {
				if problem.Code == "" || problem.Message == "" {
					t.Errorf("%s: problem %+v", what, problem)
				}
			}
		}
		_, fields, err := DecodeTag(body)
		told("tag", fields, err)
		_, fields, err = DecodeField(body)
		told("field", fields, err)
		for _, change := range []bool{true, false} {
			_, fields, err = DecodeEndpoint(body, change)
			told("endpoint", fields, err)
		}
		_, fields, err = DecodeSuppression(body)
		told("suppression", fields, err)
		_, fields, err = DecodeLink(body)
		told("link", fields, err)
		_, fields, err = DecodeForce(body)
		told("force", fields, err)
		fields, err = DecodeEmpty(body)
		told("empty", fields, err)
		for _, d := range All() {
			rows, err := DecodeBatch(d, body, fuzzBatch)
			if told("batch", nil, err); len(rows) > fuzzBatch {
				t.Errorf("%d rows", len(rows))
			}
		}
	})
}
