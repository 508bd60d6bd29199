package api

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// after runs a change of the world at a later moment of the bubble.
func (b *bench) after(d time.Duration, f func()) {
	time.AfterFunc(d, f)
}

// took sends a request and returns how long the answer took.
func (b *bench) took(t *testing.T, method, path, body string, headers ...string) (response, time.Duration) {
	t.Helper()
	start := time.Now()
	a := b.do(t, method, path, body, headers...)
	return a, time.Since(start)
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, prefer string
		resume       time.Duration // when the worker comes back
		mute         bool
		status       int
		least, most  time.Duration
	}{
		{"reply", "wait=5", time.Second, false, 200, time.Second, time.Second},
		{"reply lost", "wait=5", time.Second, true, 200, time.Second, time.Second + lastPoll},
		{"too late", "wait=5", 7 * time.Second, false, 202, 5 * time.Second, 5 * time.Second},
		{"both", "respond-async, wait=2", 7 * time.Second, false, 202, 2 * time.Second, 2 * time.Second},
		{"no wait", "respond-async", time.Second, false, 202, 0, 0},
		{"none", "wait=0", time.Second, false, 202, 0, 0},
		{"clamped", "wait=3600", time.Hour, false, 202, maxWait, maxWait},
		{"nonsense", "wait=soon", time.Second, false, 202, 0, 0},
		{"negative", "wait=-1", time.Second, false, 202, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				id := b.create(t, `{"email":"a@example.com"}`)
				b.set(func() { b.paused, b.mute = true, c.mute })
				b.after(c.resume, b.resume)
				a, took := b.took(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Prefer: "+c.prefer)
				a.want(t, c.status, "")
				if took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}

func TestPreferenceApplied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(t, `{"email":"a@example.com"}`)
	for prefer, want := range map[string]string{
		"wait=100":                     "wait=30",
		"Wait=3; x=y, RESPOND-ASYNC":   "respond-async, wait=3",
		"handling=lenient":             "",
		"wait=2, wait=9":               "wait=2",
		`respond-async;foo="a", other`: "respond-async",
	} {
		a := b.do(t, "PATCH", "/v1/contacts/"+id, `{}`, "Prefer: "+prefer)
		if got := a.Header.Get("Preference-Applied"); got != want {
			t.Errorf("%q: applied %q, want %q", prefer, got, want)
		}
	}
}

func TestCreateWaitsByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.set(func() { b.paused = true })
		a, took := b.took(t, "POST", "/v1/contacts", `{"first_name":"Ada"}`)
		if a.want(t, 202, ""); took != defaultWait {
			t.Fatalf("took %v", took)
		}
		// It is queued: not to be read yet, but to be written.
		id := a.str("data.contact_id")
		b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 404, "")
		b.do(t, "PATCH", "/v1/contacts/"+id, `{"job_title":"CTO"}`).want(t, 202, "")
		b.resume()
		b.do(t, "GET", "/v1/contacts/"+id, "").want(t, 200, "")
	})
}

func TestAWaitedReplayAsksTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		b.set(func() { b.paused = true })
		first := b.do(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Idempotency-Key: k").want(t, 202, "")
		b.after(time.Second, b.resume)
		a, took := b.took(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Idempotency-Key: k", "Prefer: wait=5")
		if a.want(t, 200, ""); a.str("meta.write_id") != first.str("data.write_id") || took > time.Second+lastPoll {
			t.Fatalf("took %v: %s", took, a.raw)
		}
		if b.polls > 12 {
			t.Errorf("asked the ledger %d times in a second", b.polls)
		}
	})
}

func TestWaitThroughAnOutageOfTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		b.set(func() { b.storeDown, b.paused = errAway, true })
		a, took := b.took(t, "PATCH", "/v1/contacts/"+id, `{"notes":"x"}`, "Prefer: wait=3")
		if a.want(t, 202, ""); took != 3*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestReadYourWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		path := "/v1/contacts/" + id
		b.set(func() { b.paused = true })
		write := b.do(t, "PATCH", path, `{"notes":"x"}`).str("data.write_id")

		a, took := b.took(t, "GET", path+"?after="+write, "")
		if a.want(t, 504, contact.CodeNotYetApplied); took != readWait {
			t.Errorf("took %v", took)
		}
		a, took = b.took(t, "GET", path+"?after="+write, "", "Prefer: wait=1")
		if a.want(t, 504, contact.CodeNotYetApplied); took != time.Second {
			t.Errorf("took %v", took)
		}
		b.after(2*time.Second, b.resume)
		a, took = b.took(t, "GET", path+"?after="+write, "")
		if a.want(t, 200, ""); a.str("data.notes") != "x" || took > 2*time.Second+lastPoll {
			t.Errorf("took %v: %s", took, a.raw)
		}
		b.do(t, "GET", path+"?after="+write, "").want(t, 200, "")
		b.do(t, "GET", path+"?after="+uuid.NewString(), "").want(t, 404, contact.CodeNotFound)
		b.do(t, "GET", path+"?after=x", "").want(t, 400, contact.CodeValidationFailed)
		b.set(func() { b.laneErr = errAway })
		b.do(t, "GET", path+"?after="+uuid.NewString(), "").want(t, 504, contact.CodeNotYetApplied)
	})
}

func TestExistenceIsAskedSparingly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		for range 10 {
			b.do(t, "PATCH", "/v1/contacts/"+id, `{}`).want(t, 202, "")
		}
		if b.looks != 1 {
			t.Fatalf("looked %d times", b.looks)
		}
		b.do(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`).want(t, 404, contact.CodeNotFound)

		// Postgres does not answer: one request waits a little, the rest not.
		b.hangs.Store(true)
		a, took := b.took(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`)
		if a.want(t, 202, ""); took != existenceTimeout {
			t.Errorf("took %v", took)
		}
		a, took = b.took(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`)
		if a.want(t, 202, ""); took != 0 {
			t.Errorf("took %v", took)
		}
		b.hangs.Store(false)
		<-time.After(existencePause)
		b.do(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`).want(t, 404, contact.CodeNotFound)
		b.set(func() { b.existenceErr = errAway })
		b.do(t, "PATCH", "/v1/contacts/"+uuid.NewString(), `{}`).want(t, 202, "")
	})
}

func TestAnArchiveIsNotForgottenByLooksUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		id := b.create(t, `{"email":"a@example.com"}`)
		path := "/v1/contacts/" + id
		b.set(func() { b.paused = true })
		b.do(t, "DELETE", path, "", "Prefer: respond-async").want(t, 202, "")
		b.do(t, "PATCH", path, `{}`).want(t, 202, "") // looked up as active still
		b.resume()
		b.do(t, "PATCH", path, `{}`).want(t, 409, contact.CodeArchived)
	})
}
