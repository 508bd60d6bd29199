package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the plain way
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"patchlane/deploy/local"
	"patchlane/store"
	"patchlane/store/storetest"
	"patchlane/tasks/contact"
)

const (
	benchContacts = 20_000
	benchBatch    = 500
	benchWorkers  = 4
)

// benchSetup makes a durable server with 20,000 contacts.
func benchSetup(tb testing.TB) (*bundle, []uuid.UUID) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := local.StartPostgres(ctx, local.PostgresOptions{Fsync: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = server.Stop() })
	if err := store.Migrate(ctx, server.URL(), store.MigrateOptions{}); err != nil {
		tb.Fatal(err)
	}
	s, err := store.Open(ctx, store.Config{URL: server.URL()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	b := &bundle{DB: storetest.DB{URL: server.URL(), Store: s}, t: tb, clock: time.Now()}
	a, err := s.CreateAccount(ctx, "bench")
	if err != nil {
		tb.Fatal(err)
	}
	b.account = a.ID
	ids := make([]uuid.UUID, benchContacts)
	for done := 0; done < len(ids); done += benchBatch {
		entries := make([]contact.Entry, benchBatch)
		for i := range entries {
			ids[done+i] = uuid.New()
			name := fmt.Sprintf("Contact %d", done+i)
			mail := fmt.Sprintf("contact-%d@example.com", done+i)
			entries[i] = b.entry(contact.KindCreate, ids[done+i], func(p *contact.Patch) {
				p.SetText(contact.FirstName, &name)
				p.SetText(contact.Email, &mail)
			})
		}
		b.mustApply(entries...)
	}
	b.exec(`VACUUM ANALYZE`)
	return b, ids
}

// BenchmarkApply applies batches of 500 writes from several lanes at once: two
// changed fields, an audit and ledger row each. One op is one write.
func BenchmarkApply(tb *testing.B) {
	b, ids := benchSetup(tb)
	batches := make(chan []contact.Entry, 2)
	var wg sync.WaitGroup
	tb.ResetTimer()
	for n := range benchWorkers {
		wg.Go(func() {
			lane := contact.Lane{Kind: 'c', N: n}
			for entries := range batches {
				out, err := b.Store.Apply(tb.Context(), lane, entries)
				if err != nil || out.Consumed != len(entries) || out.Outcomes[0].State != contact.Applied {
					tb.Errorf("apply: %d, %v", out.Consumed, err)
				}
			}
		})
	}
	for done := 0; done < tb.N; {
		n := min(benchBatch, tb.N-done)
		entries := make([]contact.Entry, n)
		for i := range entries {
			entries[i] = b.benchPatch(ids[(done+i)*7919%len(ids)], done+i)
		}
		batches <- entries
		done += n
	}
	close(batches)
	wg.Wait()
	tb.ReportMetric(float64(tb.N)/tb.Elapsed().Seconds(), "writes/s")
}

func (b *bundle) benchPatch(id uuid.UUID, n int) contact.Entry {
	title, company := fmt.Sprintf("Title %d", n), fmt.Sprintf("Company %d", n)
	return b.entry(contact.KindPatch, id, func(p *contact.Patch) {
		p.SetText(contact.JobTitle, &title)
		p.SetText(contact.CompanyName, &company)
	})
}

// BenchmarkOneTransaction does the same rows the plain way: one bun
// transaction a write. One connection keeps the order of the writes, as Apply
// does; sixteen do not.
func BenchmarkOneTransaction(tb *testing.B) {
	for _, connections := range []int{1, 16} {
		tb.Run(fmt.Sprintf("connections=%d", connections), func(tb *testing.B) {
			benchOneTransaction(tb, connections)
		})
	}
}

func benchOneTransaction(b *testing.B, connections int) {
	b.Helper()
	bundle, ids := benchSetup(b)
	connector, err := sql.Open("pgx", bundle.URL+"&default_query_exec_mode=exec")
	if err != nil {
		b.Fatal(err)
	}
	connector.SetMaxOpenConns(connections)
	connector.SetMaxIdleConns(connections)
	db := bun.NewDB(connector, pgdialect.New())
	b.Cleanup(func() { _ = db.Close() })
	entries := make(chan contact.Entry, 64)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range connections {
		wg.Go(func() {
			for e := range entries {
				if err := oneTransaction(b.Context(), db, &e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := range b.N {
		entries <- bundle.benchPatch(ids[n*7919%len(ids)], n)
	}
	close(entries)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func oneTransaction(ctx context.Context, db *bun.DB, e *contact.Entry) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var title, company *string
		var version int64
		err := tx.QueryRowContext(ctx, `SELECT job_title, company_name, version FROM contacts
			WHERE account_id = ? AND id = ? FOR UPDATE`, e.Account, e.Contact).Scan(&title, &company, &version)
		if err != nil {
			return err
		}
		newTitle, _ := e.Patch.Text(contact.JobTitle)
		newCompany, _ := e.Patch.Text(contact.CompanyName)
		_, err = tx.ExecContext(ctx, `UPDATE contacts SET job_title = ?, company_name = ?, version = version + 1,
			updated_at = now() WHERE account_id = ? AND id = ?`, newTitle, newCompany, e.Account, e.Contact)
		if err != nil {
			return err
		}
		changes, err := json.Marshal([]map[string]*string{
			{"old": title, "new": newTitle}, {"old": company, "new": newCompany},
		})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO writes (account_id, id, contact_id, kind, state, version,
				actor, source, accepted_at, applied_at, changes)
			VALUES (?, ?, ?, 'patch', 'applied', ?, ?, ?, ?, now(), ?)`,
			e.Account, e.ID, e.Contact, version+1, e.Actor, string(e.Source), e.AcceptedAt, string(changes))
		return err
	})
}
