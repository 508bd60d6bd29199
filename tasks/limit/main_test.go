package limit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
	"patchlane/tasks/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errAway is an outage of Postgres.
var errAway = errors.New("connection refused")

// books is Postgres: the copy of the balances.
type books struct {
	mu    sync.Mutex
	rows  map[uuid.UUID]contact.Balance
	away  bool
	asked int
}

func (b *books) Balance(_ context.Context, account uuid.UUID) (contact.Balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	row, found := b.rows[account]
	switch {
	case b.away:
		return contact.Balance{}, errAway
	case !found:
		return contact.Balance{}, &contact.Error{Code: contact.CodeNotFound}
	default:
		return row, nil
	}
}

func (b *books) Balances(context.Context) ([]contact.Balance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := make([]contact.Balance, 0, len(b.rows))
	for _, row := range b.rows {
		rows = append(rows, row)
	}
	if b.away {
		return nil, errAway
	}
	return rows, nil
}

func (b *books) CopyBalances(_ context.Context, balances []contact.Balance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, copied := range balances {
		if row := b.rows[copied.Account]; row.Epoch == copied.Epoch && row.Seq < copied.Seq {
			b.rows[copied.Account] = copied
		}
	}
	return nil
}

// give is what `admin account credits --set` does to Postgres.
func (b *books) give(account uuid.UUID, n int64) contact.Balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	row := contact.Balance{Account: account, Left: n, Epoch: b.rows[account].Epoch + 1}
	b.rows[account] = row
	return row
}

func (b *books) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// desk is an account with limiters on one Redis.
type desk struct {
	*limit.Limiter
	tb      testing.TB
	rdb     redis.UniversalClient
	books   *books
	account uuid.UUID
}

func setup(tb testing.TB) *desk {
	tb.Helper()
	return setupOn(tb, lanetest.DialPatiently(tb, lanetest.Start(tb, false).Addr()))
}

func setupOn(tb testing.TB, rdb redis.UniversalClient) *desk {
	tb.Helper()
	d := &desk{
		tb: tb, rdb: rdb, account: uuid.New(),
		books: &books{rows: map[uuid.UUID]contact.Balance{}},
	}
	d.Limiter = d.replica()
	return d
}

// replica makes a limiter as another process has one.
func (d *desk) replica() *limit.Limiter {
	d.tb.Helper()
	l := limit.New(d.rdb, limit.Config{Book: d.books, TripTime: time.Minute})
	d.tb.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(d.tb.Context())); err != nil {
			d.tb.Error(err)
		}
	})
	return l
}

// set gives credits as `admin account credits --set` does.
func (d *desk) set(n int64) {
	d.tb.Helper()
	if err := d.SetBalance(d.tb.Context(), d.books.give(d.account, n)); err != nil {
		d.tb.Fatal(err)
	}
}

// left is what the account has left.
func (d *desk) left() int64 {
	d.tb.Helper()
	b, err := d.Balance(d.tb.Context(), d.account)
	if err != nil {
		d.tb.Fatal(err)
	}
	return b.Left
}

// charge asks for credits under new ids.
func (d *desk) charge(units, cost int) ([]uuid.UUID, contact.Grant) {
	d.tb.Helper()
	ids := make([]uuid.UUID, units)
	for i := range ids {
		ids[i] = uuid.New()
	}
	return ids, d.take(d.Limiter, &contact.Toll{Account: d.account, Units: units, Cost: cost, Holds: ids})
}

func (d *desk) take(l *limit.Limiter, toll *contact.Toll) contact.Grant {
	d.tb.Helper()
	g, err := l.Take(d.tb.Context(), toll)
	if err != nil {
		d.tb.Fatal(err)
	}
	return g
}
