package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"patchlane/tasks/contact"
)

// backends says where Postgres and Redis are.
type backends struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" group:"backends" placeholder:"URL" help:"Postgres, such as postgres://user:password@host:5432/patchlane?sslmode=verify-full. Required."`
	RedisURL    string `name:"redis-url" env:"REDIS_URL" group:"backends" placeholder:"URL" help:"Redis: redis://host:6379/0, rediss:// with TLS, unix:///path?db=0, a Cluster as redis://h1:6379,h2:6379 (or one seed and ?cluster=true), Sentinels as redis://s1:26379,s2:26379/0?master_name=NAME. Required."`
}

// poolConfig bounds the connections of one process.
type poolConfig struct {
	DatabasePool int `name:"database-pool" env:"PATCHLANE_DATABASE_POOL" group:"backends" default:"32" help:"Most connections to Postgres that apply writes."`
	ReadPool     int `name:"database-read-pool" env:"PATCHLANE_DATABASE_READ_POOL" group:"backends" default:"10" help:"Most connections to Postgres that answer questions; no number of writes takes them."`
	RedisPool    int `name:"redis-pool" env:"PATCHLANE_REDIS_POOL" group:"backends" default:"64" help:"Most connections to Redis of each of the process's clients (to each node of a Cluster)."`
}

// laneCounts are the numbers of lanes, fixed when a database is first migrated.
type laneCounts struct {
	Lanes        int `name:"lanes" env:"PATCHLANE_LANES" group:"lanes" placeholder:"32" help:"Contact lanes. Fixed by the first migration (32 there unless said otherwise); given later, it must agree with the database."`
	AddressLanes int `name:"address-lanes" env:"PATCHLANE_ADDRESS_LANES" group:"lanes" placeholder:"8" help:"Address lanes. Fixed by the first migration (8 there unless said otherwise); given later, it must agree with the database."`
}

// laneConfig is what bounds the lanes.
type laneConfig struct {
	laneCounts
	LaneLimit          int     `name:"lane-limit" env:"PATCHLANE_LANE_LIMIT" group:"lanes" default:"250000" help:"Most waiting writes of one lane; more are answered 503 overloaded."`
	LaneShare          float64 `name:"lane-share" env:"PATCHLANE_LANE_SHARE" group:"lanes" default:"0.5" help:"Share of a lane's limit that one account may hold, above 0 up to 1."`
	NotesLimit         int     `name:"notes-limit" env:"PATCHLANE_NOTES_LIMIT" group:"lanes" default:"65536" help:"Most bytes of a contact's notes; an append beyond ends failed: limit_exceeded."`
	AllowVolatileQueue bool    `name:"allow-volatile-queue" env:"PATCHLANE_ALLOW_VOLATILE_QUEUE" group:"lanes" help:"Run on a Redis that may lose acknowledged writes (or hides its settings). Readiness and a metric then say durable: false."`
}

// processConfig is how a process shows itself and how it ends.
type processConfig struct {
	LogLevel  string `name:"log-level" env:"PATCHLANE_LOG_LEVEL" group:"process" default:"info" enum:"debug,info,warn,error" help:"Least level of a log line: debug, info, warn or error."`
	LogFormat string `name:"log-format" env:"PATCHLANE_LOG_FORMAT" group:"process" default:"auto" enum:"auto,json,text" help:"json, text, or auto: text on a terminal, json otherwise. Logs go to stderr."`
	opsConfig
	StopTimeout time.Duration `name:"stop-timeout" env:"PATCHLANE_STOP_TIMEOUT" group:"process" default:"30s" help:"Longest time of each step of a graceful stop."`
}

// listenConfig is the public side of an API process. Listen has a default of
// its own in each command, so it is not here.
type listenConfig struct {
	PublicURL string `name:"public-url" env:"PATCHLANE_PUBLIC_URL" group:"api" placeholder:"URL" help:"Address under which clients reach this API, such as https://crm.example.com; no default."`
	// CallbellHref begins the links that Callbell's clients show to people.
	CallbellHref string `name:"callbell-href-base" env:"PATCHLANE_CALLBELL_HREF_BASE" group:"api" default:"https://dash.callbell.eu/contacts" help:"What the href of a contact begins with for Callbell's clients; its uuid follows."`
	jwtConfig
	optoutConfig
	guardConfig

	StopDelay time.Duration `name:"stop-delay" env:"PATCHLANE_STOP_DELAY" group:"api" default:"0s" help:"Time after a stop signal during which the API still serves with readiness 503, so that a load balancer can look away first."`
}

// drainConfig is what bounds a worker process.
type drainConfig struct {
	BatchSize   int `name:"batch-size" env:"PATCHLANE_BATCH_SIZE" group:"worker" default:"500" help:"Most writes applied in one transaction."`
	Concurrency int `name:"concurrency" env:"PATCHLANE_CONCURRENCY" group:"worker" default:"0" help:"Lanes drained at the same time; 0: a slot for every lane."`
	retainConfig
}

// config is everything that a process of any role is told. Each command fills
// the part that it has flags for.
type config struct {
	backends
	poolConfig
	laneConfig
	processConfig
	listenConfig
	drainConfig
	// Listen is the public address; empty: this process is no API.
	Listen string
	// OpsListen is the address of metrics, health and profiles.
	OpsListen string
	// Worker says that this process drains lanes.
	Worker bool
}

// configError is a configuration that cannot work, whatever the state of the
// servers: the process ends with exitUsage instead of trying again.
type configError struct{ err error }

// Error returns the inner text.
func (e *configError) Error() string { return e.err.Error() }

// Unwrap returns the inner error.
func (e *configError) Unwrap() error { return e.err }

// Validate reports every problem of the configuration at once.
func (c *config) Validate() error {
	problems := []error{
		c.check(), c.validateLanes(), c.validateAddresses(), c.checkJWT(), c.checkLinkKey(),
		c.checkGuard(), c.checkOps(), c.checkRetain(), checkTraces(),
	}
	for _, n := range []struct {
		flag  string
		value int
		least int
	}{
		{"database-pool", c.DatabasePool, 1},
		{"database-read-pool", c.ReadPool, 1},
		{"redis-pool", c.RedisPool, 4},
		{"lane-limit", c.LaneLimit, 1},
		{"notes-limit", c.NotesLimit, 1},
	} {
		if n.value < n.least {
			problems = append(problems, fmt.Errorf("--%s: %d is below %d", n.flag, n.value, n.least))
		}
	}
	if c.StopTimeout <= 0 {
		problems = append(problems, fmt.Errorf("--stop-timeout: %s is not above 0", c.StopTimeout))
	}
	if c.StopDelay < 0 || c.StopDelay >= c.StopTimeout {
		problems = append(problems, fmt.Errorf("--stop-delay: %s is not within 0 and --stop-timeout %s", c.StopDelay, c.StopTimeout))
	}
	if c.Worker && (c.BatchSize < 1 || c.BatchSize > 10_000) {
		problems = append(problems, fmt.Errorf("--batch-size: %d is not within 1 and 10000", c.BatchSize))
	}
	if c.Concurrency < 0 {
		problems = append(problems, fmt.Errorf("--concurrency: %d is below 0", c.Concurrency))
	}
	if err := errors.Join(problems...); err != nil {
		return &configError{err}
	}
	return nil
}

// validateLanes checks what is said of lanes.
func (c *config) validateLanes() error {
	err := c.validate()
	if !(c.LaneShare > 0 && c.LaneShare <= 1) { // NaN is refused too.
		err = errors.Join(err, fmt.Errorf("--lane-share: %g is not above 0 and up to 1", c.LaneShare))
	}
	return err
}

func (l laneCounts) validate() error {
	var problems []error
	for _, n := range []struct {
		flag  string
		value int
	}{{"lanes", l.Lanes}, {"address-lanes", l.AddressLanes}} {
		if n.value < 0 || n.value > contact.MaxLanes {
			problems = append(problems, fmt.Errorf("--%s: %d is not within 1 and %d", n.flag, n.value, contact.MaxLanes))
		}
	}
	return errors.Join(problems...)
}

// agree refuses lanes other than those that were asked for.
func (l laneCounts) agree(have contact.LaneCounts) error {
	want := contact.LaneCounts{Contact: cmp.Or(l.Lanes, have.Contact), Address: cmp.Or(l.AddressLanes, have.Address)}
	if want == have {
		return nil
	}
	return &configError{fmt.Errorf("--lanes %d --address-lanes %d: the database has %d and %d: leave the flags away; or, to change the numbers, "+
		"stop every api, wait until `patchlane admin lanes` shows no entries, stop every worker, "+
		"run `UPDATE meta SET contact_lanes = …, address_lanes = …` on the database and migrate again",
		want.Contact, want.Address, have.Contact, have.Address)}
}

// validateAddresses checks the listeners and the public URL.
func (c *config) validateAddresses() error {
	var problems []error
	for _, a := range []struct{ flag, addr string }{{"listen", c.Listen}, {"ops-listen", c.OpsListen}} {
		if a.addr == "" && a.flag == "listen" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			problems = append(problems, fmt.Errorf("--%s: %q is no host:port: %w", a.flag, a.addr, err))
		}
	}
	for _, a := range []struct{ flag, url string }{{"public-url", c.PublicURL}, {"callbell-href-base", c.CallbellHref}} {
		if a.url == "" {
			continue
		}
		u, err := url.Parse(a.url)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			problems = append(problems, fmt.Errorf("--%s: %q is no absolute http or https address", a.flag, a.url))
		}
	}
	return errors.Join(problems...)
}

// check looks at both addresses without connecting. A URL is never repeated in
// a message: it may hold a password.
func (b *backends) check() error {
	return errors.Join(validateDatabaseURL(b.DatabaseURL), validateRedisURL(b.RedisURL))
}

func validateDatabaseURL(s string) error {
	if s == "" {
		return errors.New("DATABASE_URL (--database-url): missing; say where Postgres is, such as postgres://user:password@host:5432/patchlane")
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New("DATABASE_URL (--database-url): not a postgres:// URL")
	}
	return nil
}

func validateRedisURL(s string) error {
	if s == "" {
		return errors.New("REDIS_URL (--redis-url): missing; say where Redis is, such as redis://host:6379/0")
	}
	if _, err := parseRedis(s); err != nil {
		return fmt.Errorf("REDIS_URL (--redis-url): %w", err)
	}
	return nil
}

// redact hides the credentials of a URL: the user, the password and every
// query value. What is no URL is hidden whole.
func redact(s string) string {
	if s == "" {
		return ""
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return "***"
	}
	rest, _, query := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "***@" + rest[at+1:]
	}
	if query {
		rest += "?***"
	}
	return scheme + "://" + rest
}

// LogValue is the effective configuration without secrets.
func (c *config) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("database_url", redact(c.DatabaseURL)),
		slog.String("redis_url", redact(c.RedisURL)),
		slog.Int("database_pool", c.DatabasePool),
		slog.Int("database_read_pool", c.ReadPool),
		slog.Int("redis_pool", c.RedisPool),
		slog.Int("lanes", c.Lanes),
		slog.Int("address_lanes", c.AddressLanes),
		slog.Int("lane_limit", c.LaneLimit),
		slog.Float64("lane_share", c.LaneShare),
		slog.Int("notes_limit", c.NotesLimit),
		slog.Bool("allow_volatile_queue", c.AllowVolatileQueue),
		slog.String("log_level", c.LogLevel),
		slog.String("log_format", c.LogFormat),
		slog.String("stop_timeout", c.StopTimeout.String()),
		slog.String("ops_listen", c.OpsListen), slog.Bool("ops_token_given", c.OpsToken != ""),
	}
	if c.Listen != "" {
		attrs = append(attrs, slog.String("listen", c.Listen), slog.String("public_url", c.PublicURL),
			slog.String("callbell_href_base", c.CallbellHref), slog.String("stop_delay", c.StopDelay.String()),
			slog.String("sns_cert_dir", c.SNSCertDir), slog.Bool("link_key_given", c.LinkKey != ""),
			slog.Int("max_connections", c.MaxConnections), slog.Int("max_client_connections", c.MaxClientConnections),
			slog.Int("webhook_rate", c.WebhookRate),
			slog.Any("jwt_keys", c.JWTKeys), slog.Any("jwt_issuers", c.issuerNames()))
	}
	if c.Worker {
		attrs = append(attrs, slog.Int("batch_size", c.BatchSize), slog.Int("concurrency", c.Concurrency),
			slog.String("retain", c.Retain.String()), slog.String("retain_events", c.RetainEvents.String()))
	}
	return slog.GroupValue(attrs...)
}
