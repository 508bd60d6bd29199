package lane_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

func TestServerCollector(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, true)
	rdb := server.Client(t)
	reg := prometheus.NewRegistry()
	if err := reg.Register(lane.NewServerCollector(rdb)); err != nil {
		t.Fatal(err)
	}
	machine := gather(t, reg)
	if machine["patchlane_redis_memory_used_bytes"] < 1<<18 || machine["patchlane_redis_append_only_file_ok"] != 1 {
		t.Errorf("figures %v", machine)
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "64mb").Err(); err != nil {
		t.Fatal(err)
	}
	if got := gather(t, reg)["patchlane_redis_memory_limit_bytes"]; got != 64<<20 || machine["patchlane_redis_memory_limit_bytes"] <= got {
		t.Errorf("limit %v with a maxmemory of 64 MiB, %v without", got, machine["patchlane_redis_memory_limit_bytes"])
	}
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := gather(t, reg)["patchlane_redis_append_only_file_bytes"]; got <= 0 {
		t.Errorf("append-only file of %v bytes after a write", got)
	}
	server.Kill()
	if got := gather(t, reg); len(got) != 0 {
		t.Errorf("figures of a dead server: %v", got)
	}
}
