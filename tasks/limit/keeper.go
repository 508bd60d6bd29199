package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

const (
	// keepInterval is how often balances are copied to Postgres.
	keepInterval = 5 * time.Second
	// keepTime bounds one turn.
	keepTime = 20 * time.Second
	// orphanAge is the age of a hold whose request is certainly over: twice what
	// the longest may take.
	orphanAge = 2 * time.Minute
)

// KeeperConfig says what a Keeper works with. Everything is required.
type KeeperConfig struct {
	Limiter *Limiter
	// CameIn tells whether a write was accepted and has not failed. It MUST NOT
	// say no unless everybody who may know was asked.
	CameIn func(ctx context.Context, account, write uuid.UUID) (bool, error)
	Logger *slog.Logger
}

// Keeper holds the balances of Redis and Postgres together, and decides charges
// that a lost process left behind. Every API process runs one.
type Keeper struct{ cfg KeeperConfig }

// NewKeeper returns a keeper.
func NewKeeper(cfg KeeperConfig) *Keeper { return &Keeper{cfg} }

// Run works until ctx ends. It returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		if err := k.Turn(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Logger.DebugContext(ctx, "credits not kept", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Turn brings Redis and Postgres together once and decides what was left behind.
func (k *Keeper) Turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	l := k.cfg.Limiter
	written, err := l.cfg.Book.Balances(ctx)
	if err != nil {
		return err
	}
	accounts := make([]uuid.UUID, len(written))
	for i := range written {
		accounts[i] = written[i].Account
	}
	found, err := l.balances(ctx, accounts)
	if err != nil {
		return err
	}
	var copies []contact.Balance
	var problems []error
	for i := range found {
		in, at := &found[i], &written[i]
		switch {
		case !in.metered || in.Epoch < at.Epoch:
			problems = append(problems, l.SetBalance(ctx, *at))
		case in.Epoch == at.Epoch && in.Seq > at.Seq:
			copies = append(copies, in.Balance)
		}
		if in.holds > 0 {
			problems = append(problems, k.decide(ctx, in.Account))
		}
	}
	if len(copies) > 0 {
		problems = append(problems, l.cfg.Book.CopyBalances(ctx, copies))
	}
	return errors.Join(problems...)
}

// known is what Redis knows of an account.
type known struct {
	contact.Balance
	metered bool
	holds   int64
}

// balances reads what Redis knows of accounts, in their order.
func (l *Limiter) balances(ctx context.Context, accounts []uuid.UUID) ([]known, error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	pipe := l.rdb.Pipeline()
	fields, holds := make([]*redis.SliceCmd, len(accounts)), make([]*redis.IntCmd, len(accounts))
	for i, account := range accounts {
		fields[i] = pipe.HMGet(ctx, creditsKey(account), "left", "epoch", "seq")
		holds[i] = pipe.HLen(ctx, holdsKey(account))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read balances: %w", err)
	}
	found := make([]known, len(accounts))
	for i, account := range accounts {
		v := fields[i].Val()
		left, isNumber := number(v[0])
		epoch, _ := number(v[1])
		seq, _ := number(v[2])
		found[i] = known{
			Balance: contact.Balance{Account: account, Left: left, Epoch: epoch, Seq: seq},
			metered: isNumber, holds: holds[i].Val(),
		}
	}
	return found, nil
}

func number(v any) (int64, bool) {
	s, _ := v.(string)
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// decide settles or releases what was left behind of an account.
func (k *Keeper) decide(ctx context.Context, account uuid.UUID) error {
	orphans, err := k.cfg.Limiter.orphans(ctx, account)
	if err != nil {
		return err
	}
	for _, id := range orphans {
		stands, err := k.cfg.CameIn(ctx, account, id)
		if err != nil {
			return fmt.Errorf("look for write %s: %w", id, err)
		}
		outcome := "settled"
		if stands {
			k.cfg.Limiter.Settle(ctx, account, []uuid.UUID{id})
		} else {
			outcome = "released"
			if _, err := k.cfg.Limiter.Release(ctx, account, []uuid.UUID{id}); err != nil {
				return err
			}
		}
		k.cfg.Limiter.metrics.orphans.WithLabelValues(outcome).Inc()
		k.cfg.Logger.InfoContext(ctx, "decided a charge that was left behind",
			"account_id", account, "write_id", id, "outcome", outcome)
	}
	return nil
}

// orphans lists the holds of an account whose requests are over.
func (l *Limiter) orphans(ctx context.Context, account uuid.UUID) ([]uuid.UUID, error) {
	now, err := l.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	holds, err := l.rdb.HGetAll(ctx, holdsKey(account)).Result()
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	var orphans []uuid.UUID
	for field, value := range holds {
		id, err := uuid.FromBytes([]byte(field))
		_, stamp, _ := strings.Cut(value, " ")
		us, isNumber := number(stamp)
		if err == nil && isNumber && now.Sub(time.UnixMicro(us)) > orphanAge {
			orphans = append(orphans, id)
		}
	}
	return orphans, nil
}

// now reads Redis' clock.
func (l *Limiter) now(ctx context.Context) (time.Time, error) {
	if l.clock != nil {
		return l.clock(), nil
	}
	return l.rdb.Time(ctx).Result()
}
