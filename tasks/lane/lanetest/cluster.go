package lanetest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/lane"
)

// Cluster starts a Redis Cluster of two masters and returns a client of it with
// the options of lane.Tune. All ends with the test.
func Cluster(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	first, second := startNode(tb), startNode(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), startTime)
	defer cancel()
	do := func(addr string, args ...any) {
		tb.Helper()
		if err := Dial(tb, addr).Do(ctx, args...).Err(); err != nil {
			tb.Fatalf("form cluster: %v: %v", args, err)
		}
	}
	do(first, "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
	do(second, "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
	do(second, "CLUSTER", "SET-CONFIG-EPOCH", 2)
	host, port, _ := net.SplitHostPort(first)
	n, _ := strconv.Atoi(port)
	do(second, "CLUSTER", "MEET", host, port, busPort(n))
	for _, addr := range []string{first, second} {
		probe := Dial(tb, addr)
		await(ctx, tb, "cluster of "+addr, func() bool {
			info := probe.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") &&
				strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	o := redis.UniversalOptions{Addrs: []string{first, second}}
	lane.Tune(&o)
	c := redis.NewClusterClient(o.Cluster())
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// startNode starts one empty node and returns its address.
func startNode(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("PATCHLANE_REDIS_SERVER")
	if path == "" {
		path = "redis-server"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("find port: %v", err)
	}
	addr := l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	//nolint:gosec // the path is the operator's own
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), path,
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", tb.TempDir(),
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(busPort(port)))
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start cluster node: %v", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(tb.Context(), startTime)
	defer cancel()
	probe := Dial(tb, addr)
	await(ctx, tb, "cluster node", func() bool { return probe.Ping(ctx).Err() == nil })
	return addr
}

// busPort is where a node talks to the others. Its own choice, 10,000 above the
// port, may be no port.
func busPort(port int) int { return port/2 + 1024 }

// await waits until a condition holds.
func await(ctx context.Context, tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			tb.Fatalf("%s: not ready in time", what)
		case <-tick.C:
		}
	}
}
