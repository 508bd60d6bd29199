package mirror_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/mirror"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKey(secret string) contact.Key {
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	return contact.Key{
		ID: uuid.New(), Account: uuid.New(), Hash: sha256.Sum256([]byte(secret)),
		Prefix: "pl_1234", Dialect: "native", Scopes: []contact.Scope{contact.ContactsWrite},
		PerMinute: 60, ExpiresAt: &expires, CreatedAt: expires.Add(-time.Hour),
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	look := func(k contact.Key) (contact.Key, bool) {
		t.Helper()
		got, found, err := m.Key(t.Context(), k.Hash)
		if err != nil {
			t.Fatalf("look up: %v", err)
		}
		return got, found
	}
	const secret = "pl_secret"
	k := newKey(secret)
	if _, found := look(k); found {
		t.Fatal("found before it was stored")
	}
	if err := m.FillKey(t.Context(), k); err != nil {
		t.Fatalf("fill: %v", err)
	}
	got, found := look(k)
	if diff := cmp.Diff(k, got); !found || diff != "" {
		t.Errorf("found %v, diff:\n%s", found, diff)
	}
	stale := k
	stale.PerMinute = 1
	if err := m.FillKey(t.Context(), stale); err != nil {
		t.Fatalf("fill: %v", err)
	}
	if got, _ := look(k); got.PerMinute != 60 {
		t.Error("a fill replaced a record")
	}
	if err := m.PutKey(t.Context(), stale); err != nil {
		t.Fatalf("put: %v", err)
	}
	if got, _ := look(k); got.PerMinute != 1 {
		t.Error("a put did not replace the record")
	}
	for _, name := range rdb.Keys(t.Context(), "*").Val() {
		if value := rdb.Get(t.Context(), name).Val(); strings.Contains(name+value, secret) {
			t.Errorf("the credential stands in %s", name)
		}
	}
}

// A revoked key stays revoked, whatever is stored after.
func TestRevocationStays(t *testing.T) {
	t.Parallel()
	m := mirror.New(lanetest.New(t))
	k := newKey("pl_other")
	revoked := k
	now := time.Now().UTC()
	revoked.RevokedAt = &now
	for _, stored := range []contact.Key{k, revoked, k} {
		if err := m.PutKey(t.Context(), stored); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	if err := m.FillKey(t.Context(), k); err != nil {
		t.Fatalf("fill: %v", err)
	}
	if got, found, err := m.Key(t.Context(), k.Hash); err != nil || !found || got.RevokedAt == nil {
		t.Errorf("key = %+v, %v, %v; want it revoked", got, found, err)
	}
}

func TestUnreadableKey(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	k := newKey("pl_third")
	if err := m.PutKey(t.Context(), k); err != nil {
		t.Fatalf("put: %v", err)
	}
	name := rdb.Keys(t.Context(), "mirror:key:*").Val()[0]
	for _, rubbish := range []string{"", "L", "L{", "L{}", "{\"id\":1}"} {
		rdb.Set(t.Context(), name, rubbish, 0)
		if _, found, err := m.Key(t.Context(), k.Hash); found || err != nil {
			t.Errorf("%q: found %v, %v; want unknown, so that Postgres is asked", rubbish, found, err)
		}
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	m := mirror.New(lanetest.New(t))
	if _, found, err := m.Lanes(t.Context()); found || err != nil {
		t.Fatalf("found %v, %v before it was stored", found, err)
	}
	want := contact.LaneCounts{Contact: 32, Address: 8}
	if err := m.PutLanes(t.Context(), want); err != nil {
		t.Fatalf("put: %v", err)
	}
	if got, found, err := m.Lanes(t.Context()); got != want || !found || err != nil {
		t.Errorf("lanes = %+v, %v, %v", got, found, err)
	}
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	s := lanetest.Start(t, false)
	m := mirror.New(s.Client(t))
	s.Kill()
	k := newKey("pl_away")
	if err := m.PutKey(t.Context(), k); err == nil {
		t.Error("put: no error")
	}
	if err := m.FillKey(t.Context(), k); err == nil {
		t.Error("fill: no error")
	}
	if _, _, err := m.Key(t.Context(), k.Hash); err == nil {
		t.Error("look up: no error; an unknown key and an unanswered question are two things")
	}
	if _, _, err := m.Lanes(t.Context()); err == nil {
		t.Error("lanes: no error")
	}
	if err := m.PutLanes(t.Context(), contact.LaneCounts{Contact: 1}); err == nil {
		t.Error("put lanes: no error")
	}
}
