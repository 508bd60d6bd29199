package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
)

// parsed returns the configuration that a command line makes.
func parsed(t *testing.T, args ...string) *config {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.ExplicitGroups(flagGroups()), kong.Vars{"version": "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	switch ctx.Command() {
	case "api":
		return c.API.config()
	case "worker":
		return c.Worker.config()
	default:
		return c.Dev.config()
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	t.Parallel()
	good := []string{"--database-url=postgres://u:p@h/d", "--redis-url=redis://h:6379/0"}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{append([]string{"api"}, good...), nil},
		{append([]string{"worker"}, good...), nil},
		{append([]string{"api", "--lanes=2048", "--lane-share=1", "--public-url=https://crm.example.com/base"}, good...), nil},
		{append([]string{"api", "--lanes=2049", "--address-lanes=-1"}, good...), []string{"--lanes: 2049", "--address-lanes: -1"}},
		{append([]string{"api", "--lane-share=NaN", "--notes-limit=0"}, good...), []string{"--lane-share", "--notes-limit"}},
		{append([]string{"api", "--stop-timeout=0s"}, good...), []string{"--stop-timeout", "--stop-delay"}},
		{append([]string{"api", "--stop-delay=31s"}, good...), []string{"--stop-delay: 31s"}},
		{append([]string{"api", "--public-url=/relative", "--callbell-href-base=x", "--ops-listen=9090"}, good...), []string{"--public-url", "--callbell-href-base", "--ops-listen"}},
		{append([]string{"worker", "--retain=400d", "--retain-events=9600h"}, good...), nil},
		{append([]string{"worker", "--retain=6d", "--retain-events=1h"}, good...), []string{"--retain: 6d", "--retain-events: 1h"}},
		{append([]string{"worker", "--batch-size=10001", "--concurrency=-1", "--database-pool=0", "--redis-pool=1"}, good...), []string{"--batch-size", "--concurrency", "--database-pool", "--redis-pool"}},
		{[]string{"api", "--database-url=host=db", "--redis-url=http://x"}, []string{"not a postgres:// URL", `scheme "http"`}},
	} {
		err := parsed(t, c.args...).Validate()
		if len(c.want) == 0 {
			if err != nil {
				t.Errorf("%v: %v", c.args, err)
			}
			continue
		}
		if _, wrong := errors.AsType[*configError](err); !wrong {
			t.Errorf("%v: %v is no configError", c.args, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: %q does not name %q", c.args, err, w)
			}
		}
	}
}

func TestEffectiveConfigIsLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	c := parsed(t, "dev", "--public-url=https://crm.example.com")
	c.DatabaseURL = "postgres://admin:s3cret@db:5432/crm?sslpassword=s3cret"
	c.RedisURL = "rediss://:s3cret@a:6379,b:6379/0?sentinel_password=s3cret"
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).InfoContext(t.Context(), "starting", "config", c)
	_, got, _ := strings.Cut(strings.TrimSpace(out.String()), "msg=starting ")
	want := `config.database_url=postgres://***@db:5432/crm?*** config.redis_url=rediss://***@a:6379,b:6379/0?*** ` +
		`config.database_pool=32 config.database_read_pool=10 config.redis_pool=64 config.lanes=0 config.address_lanes=0 ` +
		`config.lane_limit=250000 config.lane_share=0.5 config.notes_limit=65536 config.allow_volatile_queue=false ` +
		`config.log_level=info config.log_format=auto config.stop_timeout=30s config.ops_listen=127.0.0.1:9090 config.ops_token_given=false ` +
		`config.listen=127.0.0.1:8080 config.public_url=https://crm.example.com config.callbell_href_base=https://dash.callbell.eu/contacts config.stop_delay=0s config.sns_cert_dir="" config.link_key_given=false ` +
		`config.max_connections=10000 config.max_client_connections=0 config.webhook_rate=1000 config.jwt_keys=[] config.jwt_issuers=[] ` +
		`config.batch_size=500 config.concurrency=0 config.retain=0s config.retain_events=0s`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"not a url with s3cret", "s3cret@host"} {
		if strings.Contains(redact(s), "s3cret") {
			t.Errorf("redact(%q) = %q", s, redact(s))
		}
	}
}

// TestEverySettingIsInTheExample holds deploy/env.example against the flags.
func TestEverySettingIsInTheExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../deploy/env.example")
	if err != nil {
		t.Fatal(err)
	}
	parser, err := kong.New(&cli{}, kong.ExplicitGroups(flagGroups()), kong.Vars{"version": "test"})
	if err != nil {
		t.Fatal(err)
	}
	// Traces are configured by the variables of OpenTelemetry, as everywhere.
	known := map[string]bool{
		"OTEL_EXPORTER_OTLP_ENDPOINT": true, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": true, "OTEL_EXPORTER_OTLP_HEADERS": true,
		"OTEL_SERVICE_NAME": true, "OTEL_TRACES_SAMPLER": true,
	}
	for _, command := range parser.Model.Leaves(false) {
		for _, flag := range command.Flags {
			for _, env := range flag.Envs {
				known[env] = true
			}
		}
	}
	for env := range known {
		if !strings.Contains(string(example), env+"=") {
			t.Errorf("deploy/env.example has no %s", env)
		}
	}
	for line := range strings.Lines(string(example)) {
		env, _, isSetting := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if isSetting && !strings.Contains(env, " ") && !known[env] {
			t.Errorf("deploy/env.example has %s, which no flag reads", env)
		}
	}
}

func TestLanesMustAgree(t *testing.T) {
	t.Parallel()
	have := contact.LaneCounts{Contact: 32, Address: 8}
	for _, ok := range []laneCounts{{}, {32, 8}, {32, 0}, {0, 8}} {
		if err := ok.agree(have); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
	for _, bad := range []laneCounts{{16, 8}, {0, 4}} {
		err := bad.agree(have)
		if _, wrong := errors.AsType[*configError](err); !wrong || !strings.Contains(err.Error(), "admin lanes") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestParseRedis(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]redisTarget{
		"redis://h":                       {network: "tcp", addrs: []string{"h:6379"}},
		"redis://h:1/3":                   {network: "tcp", addrs: []string{"h:1"}, db: 3},
		"redis://h:1?db=2":                {network: "tcp", addrs: []string{"h:1"}, db: 2},
		"redis://u:p%40%3A@h:1":           {network: "tcp", addrs: []string{"h:1"}, user: "u", password: "p@:"},
		"redis://secret@h":                {network: "tcp", addrs: []string{"h:6379"}, password: "secret"},
		"redis://[::1]:7/0":               {network: "tcp", addrs: []string{"[::1]:7"}},
		"redis://[::1]":                   {network: "tcp", addrs: []string{"[::1]:6379"}},
		"unix:///run/redis.sock?db=1":     {network: "unix", addrs: []string{"/run/redis.sock"}, db: 1},
		"redis://a:1,b:2,c":               {network: "tcp", addrs: []string{"a:1", "b:2", "c:6379"}, cluster: true},
		"redis://a:1?addr=b:2&addr=c:3":   {network: "tcp", addrs: []string{"a:1", "b:2", "c:3"}, cluster: true},
		"redis://a:1?cluster=true":        {network: "tcp", addrs: []string{"a:1"}, cluster: true},
		"redis://a:1,b:2/4?master_name=m": {network: "tcp", addrs: []string{"a:1", "b:2"}, db: 4, master: "m"},
	} {
		got, err := parseRedis(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(redisTarget{})); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
	}
	for _, url := range []string{
		"", "h:6379", "http://h", "redis://", "redis://h/x", "redis://h/-1", "redis://h?db=x", "redis://a,,b",
		"redis://a,b/1", "unix://relative", "unix:///s?cluster=true", "redis://h?nonsense=1", "redis://%zz:x@h", "redis://h?%zz",
	} {
		if _, err := parseRedis(url); err == nil {
			t.Errorf("parseRedis(%q) took it", url)
		}
	}
}

func TestRedisClients(t *testing.T) {
	t.Parallel()
	open := func(url string) (queue, side redis.UniversalClient, opt asynq.RedisConnOpt) {
		target, err := parseRedis(url)
		if err != nil {
			t.Fatal(err)
		}
		queue, side = target.queueClient(7), target.mirrorClient(5)
		t.Cleanup(func() { _, _ = queue.Close(), side.Close() })
		return queue, side, target.asynq(9)
	}
	queue, side, opt := open("rediss://u:p@h:1/2?skip_verify=true")
	q, isClient := queue.(*redis.Client)
	if !isClient || q.Options().PoolSize != 7 || q.Options().DB != 2 || !q.Options().TLSConfig.InsecureSkipVerify || q.Options().TLSConfig.ServerName != "h" {
		t.Errorf("queue client: %+v", queue)
	}
	// go-redis turns -1 into 0 tries more.
	if q.Options().MaxRetries != 0 || side.(*redis.Client).Options().MaxRetries != 2 {
		t.Errorf("retries: queue %d, mirror %d", q.Options().MaxRetries, side.(*redis.Client).Options().MaxRetries)
	}
	if o, is := opt.(asynq.RedisClientOpt); !is || o.Addr != "h:1" || o.DB != 2 || o.Username != "u" || o.Password != "p" || o.PoolSize != 9 || o.DialTimeout != 2*time.Second || o.TLSConfig == nil {
		t.Errorf("asynq: %+v", opt)
	}
	queue, _, opt = open("redis://a:1,b:2")
	if _, is := queue.(*redis.ClusterClient); !is {
		t.Errorf("cluster client: %T", queue)
	}
	if _, is := opt.(asynq.RedisClusterClientOpt); !is {
		t.Errorf("asynq: %T", opt)
	}
	_, _, opt = open("redis://a:1,b:2/1?master_name=m&sentinel_username=s&sentinel_password=t")
	if o, is := opt.(asynq.RedisFailoverClientOpt); !is || o.MasterName != "m" || len(o.SentinelAddrs) != 2 || o.SentinelUsername != "s" || o.SentinelPassword != "t" {
		t.Errorf("asynq: %+v", opt)
	}
	queue, _, opt = open("unix:///run/x.sock")
	if o := queue.(*redis.Client).Options(); o.Network != "unix" || o.Addr != "/run/x.sock" {
		t.Errorf("socket: %+v", o)
	}
	if o, is := opt.(asynq.RedisClientOpt); !is || o.Network != "unix" || o.Addr != "/run/x.sock" {
		t.Errorf("asynq: %+v", opt)
	}
}
