package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/store"
	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/mirror"
)

// eventPool is the pool of opt-outs, and others that --database-pool and
// --database-read-pool do not count.
const eventPool = 12

// openFiles compares the limit with what the pools and a fair number of clients
// need.
func (c *checkup) openFiles() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		c.add("open files", findingWarn, "the limit cannot be read on "+runtime.GOOS, "Allow 65536 open files (ulimit -n, LimitNOFILE=).")
		return
	}
	// The runtime raises the soft limit to the hard one at the start.
	found, state := fmt.Sprintf("%d allowed", limit.Cur), findingOK
	need := uint64(c.cmd.DatabasePool + c.cmd.ReadPool + eventPool + 3*c.cmd.RedisPool + 256) //nolint:gosec // validated counts
	switch {
	case limit.Cur < need:
		state = findingBad
	case limit.Cur < 16_384:
		state = findingWarn
	}
	c.add("open files", state, found, "Allow 65536 open files (ulimit -n, LimitNOFILE=): each client of the API is one.")
}

// postgres looks at the database; it returns whether the schema is there.
func (c *checkup) postgres(ctx context.Context, db *store.Store) bool {
	d, err := db.Diagnose(ctx)
	if err != nil {
		c.add("postgres", findingBad, said(err), "See that Postgres runs, and that DATABASE_URL names it and a role that may connect.")
		return false
	}
	version, state := fmt.Sprintf("%d.%d", d.Version/10_000, d.Version%10_000), findingOK
	if d.Version < 140_000 {
		state = findingBad
	}
	c.add("postgres", state, "version "+version, "Use PostgreSQL 14 or later.")
	if d.ReadOnly {
		c.add("postgres writes", findingBad, "the server takes no writes", "Let DATABASE_URL name the primary.")
	}
	settings := fmt.Sprintf("fsync %s, full_page_writes %s, synchronous_commit %s", d.Fsync, d.FullPageWrites, d.SynchronousCommit)
	if d.Fsync != "on" || d.FullPageWrites != "on" || d.SynchronousCommit == "off" {
		c.add("postgres durability", findingBad, settings,
			"Set them on: an applied write is removed from Redis, so Postgres must not lose it.")
	} else {
		c.add("postgres durability", findingOK, settings, "")
	}
	c.clock("postgres clock", d.Now, d.Asked)
	c.connections(d)
	if d.OldestTransaction > 10*time.Minute {
		c.add("old transactions", findingWarn, "the oldest is open for "+d.OldestTransaction.Round(time.Second).String(),
			"Look for it in pg_stat_activity: it keeps dead rows, and retention from emptying partitions.")
	}
	return c.schema(ctx, db, d)
}

// connections compares what the processes may open with what the server allows.
func (c *checkup) connections(d store.Diagnosis) {
	need := c.cmd.Processes * (c.cmd.DatabasePool + c.cmd.ReadPool + eventPool)
	found := fmt.Sprintf("%d allowed, %d in use; %d processes may open %d", d.MaxConnections, d.Connections, c.cmd.Processes, need)
	state := findingOK
	if need > d.MaxConnections {
		state = findingWarn
	}
	c.add("connections", state, found,
		"Raise max_connections, lower --database-pool and --database-read-pool, or put PgBouncer between (then with default_query_exec_mode=exec).")
}

// schema looks at migrations, partitions and what is left over.
func (c *checkup) schema(ctx context.Context, db *store.Store, d store.Diagnosis) bool {
	states, err := store.MigrateStatus(ctx, c.cmd.DatabaseURL)
	if err != nil || pending(states) > 0 {
		found := fmt.Sprintf("%d missing", pending(states))
		if err != nil {
			found = said(err)
		}
		c.add("migrations", findingBad, found, "Run patchlane migrate.")
		return false
	}
	c.add("migrations", findingOK, fmt.Sprintf("%d applied, none missing", len(states)), "")
	ahead, err := db.PartitionsAhead(ctx)
	switch {
	case err != nil:
		c.add("partitions", findingBad, said(err), "See that the role may read the catalog.")
	case ahead < 2:
		c.add("partitions", findingBad, fmt.Sprintf("%d months ahead", ahead), "Run patchlane migrate; see why no worker does (its log: upkeep).")
	default:
		c.add("partitions", findingOK, fmt.Sprintf("%d months ahead", ahead), "")
	}
	if err := db.DiagnoseSchema(ctx, &d); err != nil {
		c.add("tables", findingBad, said(err), "See that the role may read the tables.")
		return false
	}
	if d.DefaultRows {
		c.add("default partition", findingWarn, "has rows",
			"Ids outside of every month: a process with a clock that is far off, or entries nobody could read. No harm; retention removes old ones.")
	}
	c.left("failed writes", d.Failed, "Look at patchlane admin writes list, then retry or discard them.")
	c.left("erasures", d.Erasures, "A worker finishes them; if it does not, its log says why.")
	return true
}

// left reports a number that should be none.
func (c *checkup) left(check string, n int, do string) {
	state := findingOK
	if n > 0 {
		state = findingWarn
	}
	c.add(check, state, strconv.Itoa(n)+" wait", do)
}

// redis looks at the server of the lanes; it returns whether it answers.
func (c *checkup) redis(ctx context.Context, side redis.UniversalClient, target redisTarget) bool {
	if err := side.Ping(ctx).Err(); err != nil {
		c.add("redis", findingBad, said(err), "See that Redis runs, and that REDIS_URL names it with its password.")
		return false
	}
	before := time.Now()
	now, err := side.Time(ctx).Result()
	here := before.Add(time.Since(before) / 2)
	version := infoField(side.Info(ctx, "server").Val(), "redis_version")
	major, _, _ := strings.Cut(version, ".")
	n, notNumber := strconv.Atoi(major)
	switch {
	case version == "":
		c.add("redis", findingWarn, "does not tell its version", "Use Redis 7.0 or later.")
	case notNumber != nil || n < 7:
		c.add("redis", findingBad, "version "+version, "Use Redis 7.0 or later.")
	default:
		c.add("redis", findingOK, "version "+version, "")
	}
	if err == nil {
		c.clock("redis clock", now, here)
	}
	c.durable(ctx, side)
	c.queues(target)
	return true
}

// durable looks at the settings on which a 202 stands.
func (c *checkup) durable(ctx context.Context, side redis.UniversalClient) {
	const do = "Set appendonly yes, appendfsync always, no-appendfsync-on-rewrite no and maxmemory-policy noeviction; or know what you lose, and say --allow-volatile-queue."
	found, err := lane.CheckDurability(ctx, side)
	state := findingBad
	if c.cmd.AllowVolatileQueue {
		state = findingWarn
	}
	switch {
	case err != nil:
		c.add("redis durability", findingBad, said(err), "See that the role may run CONFIG GET and INFO.")
	case found.Durable:
		c.add("redis durability", findingOK, "acknowledged writes are on the disk, and nothing is evicted", "")
	case found.Unknown:
		c.add("redis durability", state, "the server does not tell its settings", do)
	default:
		c.add("redis durability", state, strings.Join(found.Problems, "; "), do)
	}
}

// queues looks whether asynq's queues are paused: workers undo that, and lanes
// are drained all the same, but it is not how patchlane is paused.
func (c *checkup) queues(target redisTarget) {
	inspector := asynq.NewInspector(target.asynq(2))
	defer func() { _ = inspector.Close() }()
	var paused []string
	for _, queue := range tasks.Queues() {
		// An error says that the queue was never used.
		if info, err := inspector.GetQueueInfo(queue); err == nil && info.Paused {
			paused = append(paused, queue)
		}
	}
	if len(paused) > 0 {
		c.add("queues", findingWarn, "paused: "+strings.Join(paused, ", "), "Start a worker, which undoes it. To pause drains use patchlane admin pause.")
		return
	}
	c.add("queues", findingOK, "none is paused", "")
}

// together looks whether Redis and Postgres are of one installation, and at what
// waits.
func (c *checkup) together(ctx context.Context, db *store.Store, side redis.UniversalClient, target redisTarget) {
	counts, err := db.Lanes(ctx)
	if err != nil {
		c.add("lanes", findingBad, said(err), "Run patchlane migrate.")
		return
	}
	if err := c.cmd.agree(counts); err != nil {
		c.add("lanes", findingBad, said(err), "Leave --lanes and --address-lanes away.")
		return
	}
	mirrored, found, err := mirror.New(side).Lanes(ctx)
	if err == nil && found && mirrored != counts {
		c.add("lanes", findingBad, fmt.Sprintf("Postgres has %d and %d, Redis knows %d and %d", counts.Contact, counts.Address, mirrored.Contact, mirrored.Address),
			"REDIS_URL and DATABASE_URL are not of one installation: correct one of them.")
		return
	}
	c.add("lanes", findingOK, fmt.Sprintf("%d contact lanes, %d address lanes", counts.Contact, counts.Address), "")
	c.waiting(ctx, target, counts)
}

// waiting looks at the entries of the lanes and at streams behind their offset.
func (c *checkup) waiting(ctx context.Context, target redisTarget, counts contact.LaneCounts) {
	queue := target.queueClient(4)
	defer func() { _ = queue.Close() }()
	stats, err := lane.New(queue, lane.Config{Counts: counts}).Stats(ctx)
	if err != nil {
		c.add("waiting entries", findingBad, said(err), "See that the role may read the streams.")
		return
	}
	var depth int64
	var oldest time.Duration
	for _, st := range stats {
		depth += st.Depth
		oldest = max(oldest, st.Oldest)
	}
	found, state := fmt.Sprintf("%d, the oldest for %s", depth, oldest.Round(time.Millisecond)), findingOK
	switch {
	case oldest > 5*time.Minute:
		state = findingBad
	case oldest > 10*time.Second:
		state = findingWarn
	}
	c.add("waiting entries", state, found, "See that a worker runs and reaches Postgres; patchlane admin lanes shows where they wait.")
}
