package console

import (
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// pages are the parsed templates, each within the layout.
type pages map[string]*template.Template

func pageNames() []string {
	return []string{
		"overview", "lanes", "failed", "failure", "confirm", "job", "optouts", "follow", "keys", "log", "login", "problem",
	}
}

func parsePages() (pages, error) {
	layout, err := template.New("layout.html").Funcs(template.FuncMap{
		"age": age, "clock": clock, "date": date, "short": short, "none": func(id uuid.UUID) bool { return id == uuid.Nil },
		"scope": pauseScope, "percent": percent, "value": shown, "tab": tabOf,
	}).ParseFS(files, "pages/layout.html")
	if err != nil {
		return nil, fmt.Errorf("parse console pages: %w", err)
	}
	parsed := pages{}
	for _, name := range pageNames() {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(files, "pages/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("parse console page %s: %w", name, err)
		}
		parsed[name] = page
	}
	return parsed, nil
}

// tab is one entry of the navigation.
type tab struct {
	Path, Name string
	Here       bool
}

func tabOf(f *frame, path, name string) tab {
	here := f.Path == path || (path != "/ops" && strings.HasPrefix(f.Path, path+"/"))
	return tab{path, name, here}
}

func (p pages) render(w io.Writer, name string, f *frame) error {
	if err := p[name].ExecuteTemplate(w, "layout.html", f); err != nil {
		return fmt.Errorf("render console page %s: %w", name, err)
	}
	return nil
}

// age shows a duration in the two units that matter.
func age(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// clock shows a moment to the second, in UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// date shows a moment that may not be there.
func date(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return clock(*t)
}

// short is enough of an id to tell it from its neighbours: of a UUIDv7 the end.
func short(id uuid.UUID) string { return "…" + id.String()[24:] }

func percent(n, of int) int {
	if of <= 0 {
		return 100
	}
	return min(100, 100*n/of)
}

// shown shows a JSON value as it stands, cut where it would fill the page.
func shown(v []byte) string {
	const most = 400
	text := strings.ToValidUTF8(string(v), "�")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// pauseScope names what a pause is for.
func pauseScope(p contact.Pause) string {
	switch {
	case p.Account != uuid.Nil:
		return "account " + p.Account.String()
	case p.Optouts:
		return "opt-outs"
	default:
		return "all writes"
	}
}
