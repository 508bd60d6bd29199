package store_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
)

// throughProxy opens a second store on a bundle's database, behind a proxy.
func (b *bundle) throughProxy() (*store.Store, *lanetest.Proxy) {
	b.t.Helper()
	u, err := url.Parse(b.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	p := lanetest.NewProxy(b.t, u.Host)
	u.Host = p.Addr()
	s, err := store.Open(b.t.Context(), store.Config{URL: u.String()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Close)
	return s, p
}

// TestPostgresHangs freezes the network to Postgres: the questions under way fail
// with their deadlines, later ones at once; a batch is an outage; and within 2 s of
// the thaw both are served again.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	s, p := b.throughProxy()
	read := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := s.Contact(ctx, b.ref(id))
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	p.Freeze()
	var hung sync.WaitGroup
	began := time.Now()
	for range 40 {
		hung.Go(func() {
			if err := read(); contact.CodeOf(err) != contact.CodeStoreUnavailable {
				t.Errorf("read: %v", err)
			}
		})
	}
	hung.Wait()
	t.Logf("40 questions given up after %s", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("given up after %s", took)
	}
	began = time.Now()
	for range 1000 {
		if err := read(); contact.CodeOf(err) != contact.CodeStoreUnavailable {
			t.Fatalf("read: %v", err)
		}
		if _, err := s.Apply(t.Context(), lane0, []contact.Entry{b.note(id, "x")}); err == nil {
			t.Fatal("applied to a server that hangs")
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("2,000 refusals took %s", took)
	}
	p.Thaw()
	began = time.Now()
	eventually(t, 2*time.Second, func() bool { return read() == nil })
	t.Logf("served %s after the thaw", time.Since(began).Round(time.Millisecond))
	if _, err := s.Apply(t.Context(), lane0, []contact.Entry{b.note(id, "back")}); err != nil {
		t.Errorf("apply after the thaw: %v", err)
	}
}

// A slow statement is no outage: others are asked meanwhile.
func TestSlowStatementIsNoOutage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.contactsNamed("Ada")[0]
	conn := b.connect()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := b.Store.Contact(t.Context(), b.ref(id))
		waits <- err
	}()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < 2500*time.Millisecond {
		if _, err := b.Store.Write(t.Context(), b.account, uuid.New()); contact.CodeOf(err) != contact.CodeNotFound {
			t.Fatalf("another question after %s: %v", time.Since(began), err)
		}
		<-tick.C
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; err != nil {
		t.Errorf("the slow question: %v", err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, within time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %s", within)
		case <-tick.C:
		}
	}
}
