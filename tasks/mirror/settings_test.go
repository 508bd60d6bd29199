package mirror_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/mirror"
)

func newSettings(account uuid.UUID, revision int64, tag string) contact.Settings {
	at := time.Date(2026, 11, 22, 3, 0, 0, 123456000, time.UTC)
	return contact.Settings{
		Account: account, Revision: revision, Tags: []contact.Tag{{Name: tag, CreatedAt: at}},
		Fields: []contact.CustomField{{InternalName: "due", Label: "Due", Type: contact.DateField, CreatedAt: at}},
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	a, b, unknown := uuid.New(), uuid.New(), uuid.New()
	ask := func(have int64) map[uuid.UUID]*contact.Settings {
		t.Helper()
		found, err := m.Settings(t.Context(), map[uuid.UUID]int64{a: have, b: -1, unknown: -1})
		if err != nil {
			t.Fatalf("ask: %v", err)
		}
		return found
	}
	put := func(s contact.Settings) {
		t.Helper()
		if err := m.PutSettings(t.Context(), s); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	if found := ask(-1); len(found) != 0 {
		t.Errorf("an empty mirror knows %v", found)
	}
	const revision = 1_763_780_400_123_456 // microseconds: exact in a Lua number
	newest := newSettings(a, revision, "new")
	put(newSettings(b, 0, "b"))
	put(newSettings(a, revision-1, "old"))
	put(newest)
	put(newSettings(a, revision-1, "late"))
	put(newSettings(a, revision, "twin"))
	found := ask(revision - 1)
	if diff := cmp.Diff(&newest, found[a]); diff != "" || found[b] == nil || len(found) != 2 {
		t.Errorf("found %v, diff:\n%s", found, diff)
	}
	if s, there := ask(revision)[a]; !there || s != nil {
		t.Errorf("an up-to-date copy got %v, %v", s, there)
	}
	for name, values := range map[string][]any{
		"rubbish": {"rev", "7", "doc", "{"}, "no document": {"rev", "7", "doc", ""},
		"of another revision": {"rev", "8", "doc", `{"account":"` + a.String() + `","revision":7}`},
		"of another account":  {"rev", "7", "doc", `{"account":"` + b.String() + `","revision":7}`},
	} {
		rdb.HSet(t.Context(), "mirror:settings:"+a.String(), values...)
		if s, there := ask(1)[a]; there {
			t.Errorf("%s: %v; want unknown, so that Postgres is asked", name, s)
		}
	}
}

func TestSettingsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, false)
	m := mirror.New(s.Client(t))
	s.Kill()
	if err := m.PutSettings(t.Context(), newSettings(uuid.New(), 1, "a")); err == nil {
		t.Error("put: no error")
	}
	if _, err := m.Settings(t.Context(), map[uuid.UUID]int64{uuid.New(): -1}); err == nil {
		t.Error("ask: no error; unknown settings and an unanswered question are two things")
	}
}
