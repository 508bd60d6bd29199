package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// logRow is one row of the audit log.
type logRow struct {
	Version int64           `json:"version"`
	Field   string          `json:"field"`
	Op      string          `json:"op"`
	Old     json.RawMessage `json:"old_value"`
	New     json.RawMessage `json:"new_value"`
	WriteID string          `json:"write_id"`
}

// show prints each contact before and after, and its audit rows between.
func (d *demo) show(ctx context.Context, people []person) error {
	d.say("\n3. The contacts, and their audit log\n")
	for _, p := range people {
		after, err := d.contact(ctx, p.id)
		if err != nil {
			return err
		}
		rows, err := d.auditLog(ctx, p.id)
		if err != nil {
			return err
		}
		d.say("\n   %s  %s\n", p.name, p.id)
		d.say("   %-28s %-31s %s\n", "", "before", "after")
		for _, field := range changedFields(p.before, after) {
			d.say("   %-28s %-31s %s\n", field, shownAny(p.before[field], 30), shownAny(after[field], 34))
		}
		d.say("   %s\n   %-4s %-23s %-7s %-24s %-24s %s\n", strings.Repeat("-", 96), "v", "field", "op", "old", "new", "write")
		for _, r := range rows {
			d.say("   %-4d %-23s %-7s %-24s %-24s …%s\n", r.Version, shortened(r.Field, 23), r.Op, shown(r.Old, 24), shown(r.New, 24), r.WriteID[max(0, len(r.WriteID)-8):])
		}
		d.check(gapFree(rows, after["version"]), "versions 1 to %v without a gap, and every old value is the previous new one", after["version"])
	}
	return nil
}

// auditLog reads the rows of a contact, the oldest first.
func (d *demo) auditLog(ctx context.Context, id string) ([]logRow, error) {
	r, err := d.client.do(ctx, http.MethodGet, "/v1/data/crm-logs?limit=100&contact_id="+id, "")
	if err != nil {
		return nil, err
	}
	var body struct{ Data []logRow }
	if err := json.Unmarshal(r.raw, &body); err != nil || r.Status != http.StatusOK {
		return nil, fmt.Errorf("read the audit log of %s: %d %s", id, r.Status, r.raw)
	}
	slices.SortStableFunc(body.Data, func(a, b logRow) int { return cmp.Compare(a.Version, b.Version) })
	return body.Data, nil
}

// gapFree tells whether the rows tell the whole story of a contact.
func gapFree(rows []logRow, version any) bool {
	var last int64
	value := map[string]string{}
	for _, r := range rows {
		if r.Version != last && r.Version != last+1 {
			return false
		}
		last = r.Version
		if r.Op != "set" {
			continue
		}
		was, known := value[r.Field]
		if known && was != string(r.Old) {
			return false
		}
		value[r.Field] = string(r.New)
	}
	counted, isNumber := version.(float64)
	return isNumber && int64(counted) == last
}

// changedFields lists the members that differ, in the order of their names;
// what every write moves is left out.
func changedFields(before, after map[string]any) []string {
	var fields []string
	for field, now := range after {
		if field != "updated_at" && shownAny(now, 1000) != shownAny(before[field], 1000) {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return fields
}

// shownAny shows a decoded value.
func shownAny(v any, width int) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return shown(b, width)
}

// shown shows a JSON value in so many columns.
func shown(raw json.RawMessage, width int) string {
	if len(raw) == 0 || string(raw) == "null" {
		return "-"
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return shortened(s, width)
}

// shortened cuts a text to so many columns and keeps it on one line.
func shortened(s string, width int) string {
	s = strings.ReplaceAll(s, "\n", " / ")
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}
