package store_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/store"
	"patchlane/store/storetest"
	"patchlane/tasks/contact"
)

type applied struct {
	out contact.AppliedBatch
	err error
}

// applyBehind runs an Apply in the background.
func (b *bundle) applyBehind(entries ...contact.Entry) <-chan applied {
	done := make(chan applied, 1)
	go func() {
		out, err := b.Store.Apply(b.t.Context(), lane0, entries)
		done <- applied{out, err}
	}()
	return done
}

func TestConcurrentDuplicateIsDataError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.contactsNamed("Ada", "Bob")
	tx, err := b.connect().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Another lane's batch takes the address and has not committed: the probe
	// cannot see it, the unique index waits for it.
	_, err = tx.Exec(t.Context(), `UPDATE contacts
		SET email = 'a@b.example', email_key = 'a@b.example' WHERE id = $1`, ids[1])
	if err != nil {
		t.Fatal(err)
	}
	before := b.offset()
	e := b.patch(ids[0], contact.Email, "a@b.example")
	done := b.applyBehind(e)
	b.untilBlocked(1)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-done
	var data *contact.DataError
	if !errors.As(got.err, &data) || data.Code != contact.CodeDuplicate {
		t.Fatalf("got %v, want a duplicate", got.err)
	}
	if b.offset() != before {
		t.Error("a refused batch moved the offset")
	}
	o, err := b.Store.Fail(t.Context(), lane0, e, data)
	if err != nil || o.Code != contact.CodeDuplicate || !strings.Contains(o.Message, "email") {
		t.Errorf("fail: %+v, %v", o, err)
	}
	if b.offset() != e.Offset {
		t.Error("a recorded failure must move the offset")
	}
}

func TestDataErrorThenFail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	// What the API refuses may still stand in a stream.
	bad := []contact.Entry{
		b.patch(id, contact.JobTitle, "nul\x00"),
		b.patch(id, contact.JobTitle, "bad\xff"),
		b.patch(id, contact.DateOfBirth, "2026-02-31"),
		b.patch(id, contact.ExternalID, strings.Repeat("x\x00", 5000)),
	}
	bad[0].Actor = "nul\x00\xff"
	bad[1].AcceptedAt = time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, e := range bad {
		_, err := b.Store.Apply(t.Context(), lane0, []contact.Entry{e})
		var data *contact.DataError
		if !errors.As(err, &data) {
			t.Errorf("apply %d: %v, want a DataError", i, err)
			continue
		}
		for range 2 { // the second is a replay
			o, err := b.Store.Fail(t.Context(), lane0, e, data)
			if err != nil || o.State != contact.Failed || o.Code != contact.CodeDataError || o.WriteID != e.ID {
				t.Errorf("fail %d: %+v, %v", i, o, err)
			}
		}
	}
	if n := b.count(`SELECT count(*) FROM failed_writes`); n != len(bad) {
		t.Errorf("%d failed writes, want %d", n, len(bad))
	}
	if o := b.mustApply(b.patch(id, contact.JobTitle, "CEO"))[0]; o.State != contact.Applied || o.Version != 2 {
		t.Errorf("after the bad ones: %+v", o)
	}
}

func TestPoisonIsRecordedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	poison := contact.Entry{
		Offset: contact.Offset{Ms: ^uint64(0), Seq: ^uint64(0)},
		Raw:    []byte("\x00\xffgarbage"), Poison: errors.New("no codec"),
	}
	headed := b.note(id, "x")
	raw := append([]byte{9}, headed.Raw[1:]...)
	whole := contact.Entry{Offset: headed.Offset, Raw: raw, Poison: errors.New("version 9")}
	good := b.note(id, "good")
	for range 2 {
		out := b.mustApply(whole, good, poison)
		if out[0].Code != contact.CodeUnreadable || out[0].WriteID != headed.ID || out[0].Account != b.account {
			t.Errorf("a whole head must keep its ids: %+v", out[0])
		}
		if out[1].State != contact.Applied {
			t.Errorf("the neighbour is %s", out[1].State)
		}
		if out[2].Code != contact.CodeUnreadable || out[2].Account != uuid.Nil || out[2].WriteID == uuid.Nil {
			t.Errorf("poison: %+v", out[2])
		}
	}
	n := b.count(`SELECT count(*) FROM failed_writes WHERE account_id = $1 AND payload = $2`, uuid.Nil, poison.Raw)
	if n != 1 {
		t.Errorf("%d rows of the poison, want 1", n)
	}
	if got := text(b.contact(id), contact.Notes); got != "good" {
		t.Errorf("notes %q", got)
	}
	if b.offset() != poison.Offset {
		t.Errorf("offset %v", b.offset())
	}
	page, err := b.Store.Writes(t.Context(), contact.WriteQuery{AllAccounts: true, State: contact.Failed, Limit: 10})
	if err != nil || len(page.Writes) != 2 {
		t.Errorf("operators see %d failures: %v", len(page.Writes), err)
	}
}

func TestDeadlockIsRedone(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	b := setupConfig(t, store.Config{Registerer: reg})
	ids := b.contactsNamed("Ada", "Bob")
	if bytes.Compare(ids[0][:], ids[1][:]) > 0 {
		ids[0], ids[1] = ids[1], ids[0]
	}
	other := b.connect()
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lock := `SELECT FROM contacts WHERE id = $1 FOR UPDATE`
	if _, err := tx.Exec(t.Context(), `SET LOCAL deadlock_timeout = '60s'`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), lock, ids[1]); err != nil {
		t.Fatal(err)
	}
	done := b.applyBehind(b.note(ids[0], "x"), b.note(ids[1], "y"))
	b.untilBlocked(1)
	if _, err := tx.Exec(t.Context(), lock, ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || got.out.Consumed != 2 {
		t.Fatalf("apply: %+v, %v", got.out, got.err)
	}
	if text(b.contact(ids[0]), contact.Notes) != "x" || text(b.contact(ids[1]), contact.Notes) != "y" {
		t.Error("the batch was not applied once")
	}
	if n := counter(t, reg, "patchlane_store_apply_redone_total"); n != 1 {
		t.Errorf("redone %v times, want 1", n)
	}
}

func TestUnknownCommitIsSettled(t *testing.T) {
	t.Parallel()
	for name, forward := range map[string]bool{"commit arrived": true, "commit was lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			b := setup(t)
			id := b.contactsNamed("Ada")[0]
			cut := newCutter(t, b.URL, forward)
			s, err := store.Open(t.Context(), store.Config{URL: cut.url, Registerer: reg, MaxConns: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			e := b.note(id, "once")
			out, err := s.Apply(t.Context(), lane0, []contact.Entry{e})
			if err != nil || out.Consumed != 1 || out.Outcomes[0].State != contact.Applied {
				t.Fatalf("apply: %+v, %v", out, err)
			}
			if wantReplay := forward; (out.Replays == 1) != wantReplay {
				t.Errorf("%d replays", out.Replays)
			}
			if n := counter(t, reg, "patchlane_store_unknown_commits_total"); n != 1 {
				t.Errorf("%v unknown commits, want 1", n)
			}
			if c := b.contact(id); text(c, contact.Notes) != "once" || c.Version != 2 {
				t.Errorf("notes %q at version %d", text(c, contact.Notes), c.Version)
			}
		})
	}
}

func TestOpenWhileAway(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Config{URL: "postgres://nobody@127.0.0.1:1/none"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Ping(t.Context()); contact.CodeOf(err) != contact.CodeStoreUnavailable {
		t.Errorf("ping: %v", err)
	}
	if _, err := s.Lanes(t.Context()); contact.CodeOf(err) != contact.CodeStoreUnavailable {
		t.Errorf("lanes: %v", err)
	}
	_, err = s.Apply(t.Context(), lane0, []contact.Entry{{}})
	var data *contact.DataError
	if err == nil || errors.As(err, &data) || !strings.Contains(err.Error(), "apply lane c000") {
		t.Errorf("apply: %v", err)
	}
	if _, err := store.Open(t.Context(), store.Config{URL: "postgres://:bad:port"}); err == nil {
		t.Error("a bad URL must be refused at once")
	}
}

func TestMissingSchema(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Config{URL: storetest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if _, err := s.Lanes(t.Context()); err == nil || !strings.Contains(err.Error(), "run patchlane migrate") {
		t.Errorf("lanes: %v", err)
	}
}

// counter reads a counter without labels.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMetricsOfTwoStores(t *testing.T) {
	t.Parallel()
	regs := []*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}
	for _, reg := range regs {
		s, err := store.Open(t.Context(), store.Config{URL: "postgres://127.0.0.1:1/none", Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	}
}

// cutter is a proxy that cuts the connection at the first COMMIT: after it was
// passed on but before its answer is, or before it is passed on.
type cutter struct {
	url     string
	forward bool
	target  string
	done    atomic.Bool
}

func newCutter(t *testing.T, target string, forward bool) *cutter {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{forward: forward, target: u.Host}
	u.Host = l.Addr().String()
	u.RawQuery = "sslmode=disable"
	c.url = u.String()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(ctx, client)
		}
	}()
	return c
}

// serve passes one connection on until it is to be cut.
func (c *cutter) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	var cut atomic.Bool
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || cut.Load() {
				_ = client.Close()
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		isCommit := bytes.Contains(bytes.ToLower(buf[:n]), []byte("commit\x00"))
		if isCommit && c.done.CompareAndSwap(false, true) {
			cut.Store(true)
			if c.forward {
				_, _ = server.Write(buf[:n])
				<-answers
			}
			break
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = server.Close()
	<-answers
}
