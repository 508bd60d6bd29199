package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// trickTexts are texts that somewhere mean more than themselves. The API takes
// every one of them, and has to give each back byte for byte.
func trickTexts() []string {
	return []string{
		`'; DROP TABLE contacts; --`, `' OR '1'='1`, `Robert'); DELETE FROM writes;--`, `$1`, `$$`, `$tag$x$tag$`, `?`, `??`, `:name`, `@name`,
		`%s%d%n`, `\`, `\\`, `\'`, `"`, `""`, `\"`, "`", `{}`, `{"a":1}`, `[1,2]`, `null`, `true`, `NULL`, `\N`, `DEFAULT`,
		`1e400`, `-0`, `0x1F`, `NaN`, `Infinity`, `{{7*7}}`, `${7*7}`, `#{7*7}`, `<script>alert(1)</script>`, `</p>&amp;&lt;`, `=cmd|' /C calc'!A0`,
		`../../etc/passwd`, `%00`, `%27`, `\u0041`, `\x41`, `\r\n`, "line\nfeed", "tab\there", "carriage\rreturn", "bell\a", "escape\x1b[31m", "del\x7f",
		"\u2028\u2029", "e\u0301", "\u00e9", "\u202eright", "\u200bzero", "\ufeffbom", "a\ufeffb", "\U0001f600", "\U000e0001", "\ufdd0", "\uffff",
		"ﬁ", "İ", "ß", "٠١", "ａ", "日本語", "עברית", strings.Repeat("あ", 100), `E'\x41'`, `U&'\0041'`, `/* */`, `-- x`, `;`, `\0`, `COPY x FROM PROGRAM 'id'`,
	}
}

// textFields are those that take any text, each in a body of its own.
func textFields() []string {
	return []string{"first_name", "last_name", "job_title", "company_name", "external_id", "source", "notes", "notes_append"}
}

// tricks writes every text into every field that takes texts, into names and
// values of metadata, custom fields and tags, and reads it back: from the answer,
// from the contact, from the audit, and by a search for it.
func tricks(r *run) {
	apis, _ := r.processes(1, 1)
	api := apis[0]
	r.define(api)
	texts := trickTexts()
	if r.brief {
		texts = texts[:len(texts)/3]
	}
	for _, text := range texts {
		r.trick(api, text)
	}
	r.row.acked = r.row.times
	db := r.postgres(r.t)
	var tables int
	err := db.QueryRow(r.t.Context(), `SELECT count(*) FROM information_schema.tables WHERE table_name IN ('contacts', 'writes', 'failed_writes')`).Scan(&tables)
	if err != nil || tables != 3 {
		r.t.Errorf("%d of three tables are there: %v", tables, err)
	}
}

// define makes the custom field of the tricks.
func (r *run) define(api *process) {
	r.t.Helper()
	status, body, err := r.call(r.t.Context(), http.MethodPost, api.url+"/v1/custom-fields", nil, []byte(`{"internal_name":"trick","label":"Trick","type":"string"}`))
	if err != nil || status != http.StatusCreated {
		r.t.Fatalf("custom field: %d %s %v", status, body, err)
	}
}

// trick writes one text everywhere into a contact of its own.
func (r *run) trick(api *process, text string) {
	r.t.Helper()
	person := r.createContacts(r.t, api.url, 1)[0]
	path := api.url + "/v1/contacts/" + person.id
	trimmed := strings.TrimSpace(text) == text
	for _, field := range textFields() {
		member := strings.TrimSuffix(field, "_append")
		if member == "notes" && field != "notes" {
			r.patch(path, map[string]any{"notes": nil})
		}
		r.same(path, field, r.patch(path, map[string]any{field: text}), text, func(c map[string]any) any { return c[member] }, trimmed)
	}
	object := map[string]any{text: text, "inside": map[string]any{text: []any{text, map[string]any{text: nil}}}}
	want, err := json.Marshal(object)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, field := range []string{"metadata", "metadata_merge"} {
		if field == "metadata_merge" {
			object["inside"] = map[string]any{text: []any{text, map[string]any{text: nil}}}
		}
		r.same(path, field, r.patch(path, map[string]any{field: object}), string(want), func(c map[string]any) any {
			got, _ := json.Marshal(c["metadata"])
			return string(got)
		}, true)
	}
	r.same(path, "custom_fields", r.patch(path, map[string]any{"custom_fields": map[string]any{"trick": text}}), text, func(c map[string]any) any {
		fields, _ := c["custom_fields"].(map[string]any)
		return fields["trick"]
	}, trimmed)
}

// patch writes and waits for the outcome.
func (r *run) patch(path string, body map[string]any) (status int) {
	r.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	status, answer, err := r.call(r.t.Context(), http.MethodPatch, path, http.Header{"Prefer": {"wait=20"}}, raw)
	if err != nil {
		r.t.Fatal(err)
	}
	if status != http.StatusOK && status != http.StatusBadRequest {
		r.t.Errorf("%s: %d %s", raw, status, answer)
	}
	return status
}

// same reads the contact. A text that a field may change, by trimming it, or
// refuse, is refused whole or stands as documented; any other stands as it was
// sent.
func (r *run) same(path, field string, status int, want string, of func(map[string]any) any, exact bool) {
	r.t.Helper()
	r.injected(1)
	if status == http.StatusBadRequest {
		if !exact || strings.HasPrefix(field, "metadata") {
			return
		}
		r.t.Errorf("%s: %q is refused", field, want)
		return
	}
	code, body, err := r.call(r.t.Context(), http.MethodGet, path, nil, nil)
	var reply struct{ Data map[string]any }
	if err != nil || code != http.StatusOK || json.Unmarshal(body, &reply) != nil {
		r.t.Fatalf("read: %d %s %v", code, body, err)
	}
	if got := fmt.Sprint(of(reply.Data)); got != want && (exact || strings.TrimSpace(want) != got) {
		r.t.Errorf("%s: %q came back as %q", field, want, got)
	}
}
