package dialect

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"patchlane/tasks/contact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChoosingADialect(t *testing.T) {
	t.Parallel()
	for _, d := range All() {
		if got, found := ByName(d.Traits().Name); !found || got.Traits().Name != d.Traits().Name {
			t.Errorf("%s is not found", d.Traits().Name)
		}
	}
	if _, found := ByName("klingon"); found {
		t.Error("klingon is found")
	}
	if d := ForUnknown("/v1/contacts", ""); d.Traits().Name != "native" {
		t.Errorf("got %s", d.Traits().Name)
	}
}

func TestNativeTellsAbsentNullAndValueApart(t *testing.T) {
	t.Parallel()
	body, err := Native{}.Decode(contact.KindPatch, Request{Body: []byte(`{
		"last_name":null,"job_title":"","tags":[],"metadata":{},"custom_fields":{"a":null,"b":1.50},
		"email_unsubscribed":false,"as_of":"2026-01-02T03:04:05.1234567+02:00"}`)})
	if err != nil || len(body.Fields) > 0 {
		t.Fatalf("decode: %v %v", err, body.Fields)
	}
	p := body.Patch
	if v, present := p.Text(contact.LastName); v != nil || !present {
		t.Errorf("last_name %v %v", v, present)
	}
	if v, _ := p.Text(contact.JobTitle); v == nil || *v != "" {
		t.Errorf("job_title %v", v)
	}
	if _, present := p.Text(contact.Email); present {
		t.Error("email is present")
	}
	if p.Tags == nil || p.TagsAdd != nil || string(p.Metadata) != "{}" || p.MetadataMerge != nil {
		t.Errorf("patch %+v", p)
	}
	want := map[string]json.RawMessage{"a": json.RawMessage("null"), "b": json.RawMessage("1.50")}
	if !reflect.DeepEqual(p.CustomFields, want) {
		t.Errorf("custom fields %s", p.CustomFields)
	}
	if p.EmailUnsubscribed == nil || *p.EmailUnsubscribed || p.SMSUnsubscribed != nil {
		t.Error("flags")
	}
	if at := time.Date(2026, 1, 2, 1, 4, 5, 123456000, time.UTC); !body.AsOf.Equal(at) {
		t.Errorf("as_of %v", body.AsOf)
	}
}

func TestNativeWrongTypes(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"first_name":null`:             "first_name",
		`"last_name":1`:                 "last_name",
		`"full_name":null`:              "full_name",
		`"notes":["a"]`:                 "notes",
		`"notes_append":null`:           "notes_append",
		`"tags":null`:                   "tags",
		`"tags":"a"`:                    "tags",
		`"tags_add":[null]`:             "tags_add[0]",
		`"custom_fields":null`:          "custom_fields",
		`"custom_fields":[]`:            "custom_fields",
		`"metadata":null`:               "metadata",
		`"metadata":"{}"`:               "metadata",
		`"metadata_merge":1`:            "metadata_merge",
		`"email_unsubscribed":"true"`:   "email_unsubscribed",
		`"sms_unsubscribed":null`:       "sms_unsubscribed",
		`"as_of":1`:                     "as_of",
		`"version":1`:                   "version",
		`"archived_at":null`:            "archived_at",
		`"custom_fields":{"a":1,"a":2}`: "custom_fields.a",
		`"":1`:                          "",
	} {
		body, err := Native{}.Decode(contact.KindPatch, Request{Body: []byte("{" + member + "}")})
		if err != nil || len(body.Fields) != 1 || body.Fields[0].Field != want {
			t.Errorf("%s: got %v %v", member, err, body.Fields)
		}
		if !body.Patch.Empty() {
			t.Errorf("%s: something of it is in the patch", member)
		}
	}
}

func TestErrorsHoldNoValues(t *testing.T) {
	t.Parallel()
	const private = "private@example.com"
	for _, body := range []string{
		`{"email":"` + private + `"`, `{"email":` + private + `}`, `{"email":["` + private + `"]}`, `"` + private + `"`,
		`{"as_of":"` + private + `"}`, `{"tags":[{"a":"` + private + `"}]}`, `{} ` + private,
	} {
		b, err := Native{}.Decode(contact.KindPatch, Request{Body: []byte(body)})
		if e, told := errors.AsType[*contact.Error](err); told {
			b.Fields = append(b.Fields, contact.FieldError{Message: e.Message})
		}
		if len(b.Fields) == 0 {
			t.Errorf("%s: accepted", body)
		}
		for _, f := range b.Fields {
			if strings.Contains(f.Message, "private") {
				t.Errorf("%s: %s", body, f.Message)
			}
		}
	}
}

func TestBatchRowsKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	rows, err := DecodeBatch(Native{}, []byte(`{"writes":[{"patch":{}},3,{"id":"`+id.String()+
		`","patch":{"notes":"x"},"if_match":"7","idempotency_key":"k"}]}`), 3)
	if err != nil || len(rows) != 3 {
		t.Fatalf("decode: %v, %d rows", err, len(rows))
	}
	if len(rows[0].Fields) > 0 || len(rows[1].Fields) != 1 {
		t.Errorf("rows %+v", rows)
	}
	last := rows[2]
	if last.ID != id || string(last.Patch) != `{"notes":"x"}` || *last.Key != "k" || *last.IfMatch != "7" {
		t.Errorf("row %+v", last)
	}
}

func TestProblemIsAlwaysWhole(t *testing.T) {
	t.Parallel()
	body, media := Native{}.Problem(&Problem{Status: 400, Code: "x", Detail: "bad \xff bytes"})
	if media != "application/problem+json" || !json.Valid(body) {
		t.Errorf("%s: %s", media, body)
	}
}

func TestTimesHaveSixDigits(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 5, 0, 0, 120000000, time.FixedZone("", 7200))
	if got := FormatTime(at); got != "2026-11-22T03:00:00.120000Z" {
		t.Error(got)
	}
}

// FuzzDecode: nothing that the decoder accepts may mean two things to two
// readers of JSON, and nothing makes it panic.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"email":"a@example.com","notes":null}`, `{"tags":["a","b"],"metadata":{"a":[1,{"b":null}]}}`,
		`{"email":"a","email":"b"}`, `{"metadata":{"a":1,"a":2}}`, `{"Email":1}`, "{\"notes\":\"\xff\"}", `{"notes":"\ud800"}`,
		`{"custom_fields":{"x":1e400}}`, `{"as_of":"2026-01-02T03:04:05Z"}`, `{} x`, "\ufeff{}", `{"a":` + strings.Repeat("[", 50),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := slices.Clone(body)
		b, err := Native{}.Decode(contact.KindCreate, Request{Body: body})
		if !slices.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if len(b.Fields) > MaxProblems {
			t.Fatalf("%d problems", len(b.Fields))
		}
		if err != nil {
			if code := contact.CodeOf(err); code != contact.CodeInvalidJSON && code != contact.CodeInvalidBody {
				t.Fatalf("code %s", code)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("accepted what is no JSON object: %v", err)
		}
		if len(b.Fields) > 0 {
			return
		}
		for name, value := range members {
			if field, isText := textField(name); isText {
				var want *string
				if err := json.Unmarshal(value, &want); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, present := b.Patch.Text(field)
				if !present || (got == nil) != (want == nil) || (got != nil && *got != *want) {
					t.Fatalf("%s: read differently", name)
				}
			}
		}
		if problems := b.Patch.Validate(contact.Rules{Now: time.Unix(1, 0)}); len(problems) == 0 {
			_ = b.Patch.Digest(nil, b.AsOf)
		}
	})
}
