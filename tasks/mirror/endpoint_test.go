package mirror_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/mirror"
)

func TestEndpointIsMirrored(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	m := mirror.New(rdb)
	e := contact.Endpoint{
		ID: uuid.New(), Account: uuid.New(), Provider: "ses", Secrets: []string{"a", "b"}, TopicARN: "arn:1",
		Settings: []byte(`{}`), CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	if _, found, err := m.Endpoint(t.Context(), e.ID); found || err != nil {
		t.Errorf("unknown endpoint: %v, %v", found, err)
	}
	if err := m.PutEndpoint(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got, found, err := m.Endpoint(t.Context(), e.ID)
	if diff := cmp.Diff(e, got); !found || err != nil || diff != "" {
		t.Errorf("%v, %v, %s", found, err, diff)
	}
	older := e
	older.Secrets = []string{"old"}
	if err := m.FillEndpoint(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := m.Endpoint(t.Context(), e.ID); len(got.Secrets) != 2 {
		t.Error("a fill replaced what was written through")
	}
	gone := e
	gone.DeletedAt = &e.CreatedAt
	for _, put := range []contact.Endpoint{gone, e} { // the second was read before the deletion
		if err := m.PutEndpoint(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	if got, found, err = m.Endpoint(t.Context(), e.ID); err != nil || !found || got.DeletedAt == nil {
		t.Errorf("a deleted endpoint came back: %+v, %v, %v", got, found, err)
	}
	if err := rdb.Set(t.Context(), "mirror:endpoint:"+e.ID.String(), "nonsense", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, found, err := m.Endpoint(t.Context(), e.ID); found || err != nil {
		t.Errorf("unreadable record: %v, %v", found, err)
	}
}

func TestTokenIsConsumedOnceWithItsBody(t *testing.T) {
	t.Parallel()
	m := mirror.New(lanetest.New(t))
	body, other := [32]byte{1}, [32]byte{2}
	consume := func(scope, token string, body [32]byte, want bool) {
		t.Helper()
		if ok, err := m.ConsumeToken(t.Context(), scope, token, body, time.Minute); ok != want || err != nil {
			t.Errorf("token %s of %s: %v, %v", token, scope, ok, err)
		}
	}
	consume("e1", "t", body, true)
	consume("e1", "t", body, true) // the provider repeats
	consume("e1", "t", other, false)
	consume("e2", "t", other, true)
	consume("e1", "u", other, true)
	var wins atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if ok, err := m.ConsumeToken(t.Context(), "e1", "race", [32]byte{byte(i)}, time.Minute); err == nil && ok {
				wins.Add(1)
			}
		})
	}
	all.Wait()
	if n := wins.Load(); n != 1 {
		t.Errorf("%d bodies were accepted with one token", n)
	}
}
