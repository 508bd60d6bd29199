package faults

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// lostDataFaults take entries out of Redis that it had promised to keep: 15. What
// was queued then is lost, which is documented; what comes after must not be.
func lostDataFaults() []fault {
	return []fault{
		{number: 15, name: "FLUSHALL", run: func(r *run) { r.loseData((*run).flush) }},
		{number: 15, name: "a lane's stream deleted", run: func(r *run) { r.loseData((*run).deleteStreams) }},
		{number: 15, name: "Redis restored from an older file", run: func(r *run) { r.loseData((*run).restoreOlder) }},
	}
}

// loseData makes offsets that lie an hour ahead, as on a Redis whose clock was
// wrong, loses what Redis has, and writes again: without the guard every new
// entry would get an id that looks applied.
func (r *run) loseData(lose func(r *run, before func())) {
	apis, workers := r.processes(1, 2)
	first := func() {
		tr := r.begin(r.t, apis, ordinary(), r.seed)
		r.pass(time.Second)
		r.ahead()
		r.pass(time.Second)
		r.judge(tr.end())
	}
	lose(r, first)
	eventually(r.t, 10*time.Second, func() error {
		if n := counters(workers, "patchlane_worker_guard_alarms_total"); n < contactLanes/2 {
			return fmt.Errorf("%.0f alarms of the guard", n)
		}
		return nil
	})
	r.note("%.0f alarms", counters(workers, "patchlane_worker_guard_alarms_total"))
	tr := r.begin(r.t, apis, ordinary(), r.seed+1)
	r.pass(2 * time.Second)
	r.judge(tr.end())
}

// ahead adds to each stream a copy of an entry, an hour in the future.
func (r *run) ahead() {
	r.t.Helper()
	rdb := r.direct(r.t)
	entry := r.anyEntry(rdb)
	at := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10) + "-1"
	for _, log := range laneLogs() {
		if log[1] != 'c' {
			continue
		}
		args := xadd(log, entry)
		args.ID = at
		if err := rdb.XAdd(r.t.Context(), args).Err(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// anyEntry waits for an entry of a write and returns it.
func (r *run) anyEntry(rdb *redis.Client) (values map[string]any) {
	r.t.Helper()
	eventually(r.t, 20*time.Second, func() error {
		for _, log := range laneLogs() {
			entries, err := rdb.XRangeN(r.t.Context(), log, "-", "+", 1).Result()
			if err != nil {
				return err
			}
			if len(entries) > 0 && log[1] == 'c' {
				values = entries[0].Values
				return nil
			}
		}
		return errors.New("no lane holds an entry")
	})
	return values
}

// flush empties Redis.
func (r *run) flush(before func()) {
	before()
	if err := r.direct(r.t).FlushAll(r.t.Context()).Err(); err != nil {
		r.t.Fatal(err)
	}
	r.injected(1)
}

// deleteStreams deletes the streams, which nobody may.
func (r *run) deleteStreams(before func()) {
	before()
	rdb := r.direct(r.t)
	for _, log := range laneLogs() {
		n, err := rdb.Del(r.t.Context(), log).Result()
		if err != nil {
			r.t.Fatal(err)
		}
		r.injected(int(n))
	}
}

// restoreOlder copies the file of Redis, lets it go on, and puts the copy back.
func (r *run) restoreOlder(before func()) {
	tr := r.begin(r.t, r.procs[:1], ordinary(), r.seed+2)
	r.pass(time.Second)
	dir, err := r.direct(r.t).ConfigGet(r.t.Context(), "dir").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	data, kept := dir["dir"], filepath.Join(r.t.TempDir(), "older")
	r.copy(data, kept)
	r.judge(tr.end())
	before()
	r.restartRedis(func() { r.copy(kept, data) })
	r.injected(1)
}

// copy replaces a folder by another one, with the owners of its files.
func (r *run) copy(from, to string) {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), "sh", "-c", `rm -rf "$2" && cp -a "$1" "$2"`, "sh", from, to).CombinedOutput()
	if err != nil {
		r.t.Fatalf("copy: %v\n%s", err, strings.TrimSpace(string(out)))
	}
}
