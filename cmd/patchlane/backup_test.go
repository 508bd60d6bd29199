package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"patchlane/deploy/local"
	"patchlane/store/storetest"
)

// diary is what a client was told about the notes of one contact.
type diary struct {
	path string
	mu   sync.Mutex
	// acknowledged are the texts that were, in order.
	acknowledged []string
}

// keep appends notes until stop is closed.
func (d *diary) keep(n *node, name string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		text := fmt.Sprintf("%s-%d", name, i)
		r, err := n.client().do(n.site.tb.Context(), http.MethodPatch, d.path, `{"notes_append":"`+text+`"}`)
		if err != nil || r.Status != http.StatusAccepted {
			n.site.tb.Errorf("%s: %v %v", text, r, err)
			return
		}
		d.mu.Lock()
		d.acknowledged = append(d.acknowledged, text)
		d.mu.Unlock()
	}
}

func (d *diary) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.acknowledged)
}

// script runs a script of the deploy folder.
func script(t *testing.T, name string, env []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../deploy/"+name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// redisFolder makes the empty folder of a Redis, which is not always of the user
// who runs the tests.
func redisFolder(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "redis")
	redis, err := local.StartRedis(t.Context(), local.RedisOptions{Dir: folder, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "data", "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// A backup is taken under load, while a worker catches up with what waits, and
// brought back into new servers: what was acknowledged before it began is there
// once and in order, and nothing at all stands twice.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	api := s.start("api").ready()
	worker := s.start("worker").ready()
	diaries := make([]*diary, 6)
	for i := range diaries {
		diaries[i] = &diary{path: api.create()}
	}
	worker.stop()
	worker.ended()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i, d := range diaries {
		writers.Go(func() { d.keep(api, fmt.Sprintf("w%d", i), stop) })
	}
	enough := func(n int) {
		s.eventually(30*time.Second, "acknowledged writes", func() error {
			for _, d := range diaries {
				if d.count() < n {
					return fmt.Errorf("%d of %d", d.count(), n)
				}
			}
			return nil
		})
	}
	enough(20)
	before := make([]int, len(diaries))
	for i, d := range diaries {
		before[i] = d.count()
	}
	worker = s.start("worker")
	folder := filepath.Join(t.TempDir(), "backup")
	script(t, "backup.sh", []string{"DATABASE_URL=" + s.db, "REDIS_URL=" + s.redis}, folder)
	enough(before[0] + 5)
	close(stop)
	writers.Wait()
	api.stop()
	worker.stop()
	api.ended()
	worker.ended()

	restored := &site{tb: t, db: storetest.Empty(t), key: s.key, http: s.http}
	data := redisFolder(t)
	script(t, "restore.sh", []string{"DATABASE_URL=" + restored.db}, folder, filepath.Join(data, "data"))
	redis, err := local.StartRedis(t.Context(), local.RedisOptions{Dir: data, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := redis.Stop(); err != nil {
			t.Error(err)
		}
	})
	restored.redis = redis.URL()
	restored.start("worker").ready()
	api = restored.start("api").ready()
	restored.eventually(30*time.Second, "empty lanes", func() error {
		var lanes struct{ Depth int }
		restored.command(&lanes, "admin", "lanes")
		if lanes.Depth > 0 {
			return fmt.Errorf("%d entries", lanes.Depth)
		}
		return nil
	})
	for i, d := range diaries {
		r := api.do(http.MethodGet, d.path, "")
		if r.Status != http.StatusOK || r.Data.Notes == nil {
			t.Fatalf("%d %s", r.Status, r.raw)
		}
		notes := strings.Split(*r.Data.Notes, "\n")
		if len(notes) < before[i] || len(notes) > len(d.acknowledged) {
			t.Errorf("contact %d has %d notes, %d were acknowledged before the backup and %d at the end", i, len(notes), before[i], len(d.acknowledged))
		}
		for n := range min(len(notes), len(d.acknowledged)) {
			if notes[n] != d.acknowledged[n] {
				t.Errorf("contact %d: note %d is %q, want %q", i, n, notes[n], d.acknowledged[n])
				break
			}
		}
		t.Logf("contact %d: %d notes before, %d brought back, %d at the end", i, before[i], len(notes), len(d.acknowledged))
	}
	// It takes writes again.
	if r := api.do(http.MethodPatch, diaries[0].path, `{"job_title":"CEO"}`, "Prefer", "wait=10"); r.Status != http.StatusOK {
		t.Errorf("after the restore: %d %s", r.Status, r.raw)
	}
}
