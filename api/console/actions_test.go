package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// broken fills the ward with failed writes.
func (d *desk) broken(n int) {
	for i := range n {
		d.failures = append(d.failures, contact.Failure{
			WriteRef: contact.WriteRef{Account: uuid.UUID{1}, ID: uuid.New()}, Contact: uuid.New(), Code: "duplicate",
			Origin: time.UnixMicro(int64(1000 + i)), Kind: contact.KindPatch,
		})
	}
}

// logged waits until an action stands in the operators' log.
func (d *desk) logged(action string) contact.OperatorAction {
	d.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		d.mu.Lock()
		for _, a := range d.log {
			if a.Action == action {
				d.mu.Unlock()
				return a
			}
		}
		d.mu.Unlock()
		<-tick.C
	}
	d.t.Fatalf("%q is not in the log: %+v", action, d.log)
	return contact.OperatorAction{}
}

func TestFailedWritesArePaged(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.broken(2*failedPageSize + 1)
	path, seen := "/ops/failed", 0
	for range 5 {
		body := d.get(path).Body.String()
		seen += strings.Count(body, `name="id"`)
		_, rest, more := strings.Cut(body, `<a href="/ops/failed?after=`)
		if !more {
			break
		}
		after, _, _ := strings.Cut(rest, `"`)
		path = "/ops/failed?after=" + after
	}
	if seen != len(d.failures) {
		t.Errorf("%d of %d failed writes were listed", seen, len(d.failures))
	}
}

func TestReplayIsShownAndStopped(t *testing.T) {
	t.Parallel()
	d := newDesk(t, token)
	d.login("Ada")
	d.broken(2)
	w := d.act("/ops/failed/retry", "all", "1", "code", "duplicate", "rate", "50", "force", "1")
	job := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(job, "/ops/replays/") {
		t.Fatalf("start: %d to %q", w.Code, job)
	}
	if body := d.get(job).Body.String(); !strings.Contains(body, "under way") || !strings.Contains(body, "Stop</button>") || !strings.Contains(body, "Ada") {
		t.Errorf("page %s", body)
	}
	// One at a time.
	if w := d.act("/ops/failed/retry", "all", "1"); w.Code != http.StatusBadRequest {
		t.Errorf("a second replay: %d", w.Code)
	}
	if w := d.act(job + "/cancel"); w.Code != http.StatusSeeOther {
		t.Errorf("stop: %d", w.Code)
	}
	a := d.logged("retry writes, every field")
	if a.Operator != "Ada" || a.Via != "console" || a.Target != "all code=duplicate" || a.Problem != "stopped" || a.Detail != "1 retried, 0 refused" {
		t.Errorf("logged %+v", a)
	}
	if body := d.get(job).Body.String(); !strings.Contains(body, "stopped") {
		t.Errorf("page after the stop %s", body)
	}
	close(d.hold)
	w = d.act("/ops/failed/retry", "id", d.failures[0].ID.String(), "id", d.failures[1].ID.String())
	if w.Code != http.StatusSeeOther {
		t.Errorf("a replay after it: %d", w.Code)
	}
	if a := d.logged("retry writes"); a.Target != "2 picked writes" || a.Problem != "" || a.Detail != "2 retried, 0 refused" {
		t.Errorf("logged %+v", a)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	first, second := d.replays[0], d.replays[1]
	if first.Query.Code != "duplicate" || !first.Query.AllAccounts || first.Rate != 50 || !first.Each.Force || first.Query.IDs != nil {
		t.Errorf("first replay %+v", first)
	}
	if len(second.Query.IDs) != 2 || second.Each.Force || second.Rate != 0 {
		t.Errorf("second replay %+v", second)
	}
}

func TestActionsAreDoneAndLogged(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.broken(3)
	account, review := uuid.UUID{1}.String(), uuid.NewString()
	for _, c := range []struct {
		path   string
		values []string
		action string
		want   string
	}{
		{"/ops/failed/discard", []string{"id", d.failures[0].ID.String()}, "discard writes", "3 discarded"},
		{"/ops/pause", []string{"scope", "account", "account", account, "reason", "import"}, "pause", "import"},
		{"/ops/resume", []string{"scope", "account", "account", account}, "resume", ""},
		{"/ops/optouts/" + account + "/" + review, []string{"decision", "accept"}, "accept opt-out", ""},
		{"/ops/optouts/" + account + "/" + review, []string{"decision", "dismiss"}, "dismiss opt-out", ""},
	} {
		if w := d.act(c.path, c.values...); w.Code != http.StatusSeeOther {
			t.Errorf("%s: %d %s", c.action, w.Code, w.Body)
		}
		if a := d.logged(c.action); a.Detail != c.want || a.Operator != "local operator" {
			t.Errorf("logged %+v", a)
		}
	}
	if got := fmt.Sprint(d.decided); !strings.Contains(got, "accept "+review+" operator local operator") || !strings.Contains(got, "dismiss "+review) {
		t.Errorf("decided %s", got)
	}
	for path, values := range map[string][]string{
		"/ops/failed/retry":                      {"all", "1", "rate", "-1"},
		"/ops/failed/discard":                    {},
		"/ops/pause":                             {"scope", "account"},
		"/ops/resume":                            {"scope", "writes", "account", account},
		"/ops/optouts/" + account + "/" + review: {"decision", "maybe"},
	} {
		if w := d.act(path, values...); w.Code != http.StatusBadRequest {
			t.Errorf("%s %v: %d", path, values, w.Code)
		}
	}
}

func TestConsoleNeedsItsParts(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	for _, name := range []string{"Lanes", "Failures", "Ledger", "Optouts", "Book", "API", "LaneCount", "Ready", "Logger"} {
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
