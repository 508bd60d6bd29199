package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"patchlane/tasks/lane"
)

// redisTarget is a parsed REDIS_URL. The same target makes the clients of ours
// and the connections of asynq, which are its own.
type redisTarget struct {
	network   string
	addrs     []string
	user      string
	password  string
	db        int
	cluster   bool
	master    string
	sentinel  *url.Userinfo
	tlsConfig *tls.Config
}

// parseRedis reads a REDIS_URL:
//
//	redis://[user:password@]host[:6379][/db]              one server
//	rediss://…                                            with TLS (?skip_verify=true takes any certificate)
//	unix:///path/to/socket[?db=0]                         a socket; user and password as above
//	redis://h1:6379,h2:6379,h3:6379                       the seeds of a Cluster; one seed: ?cluster=true
//	redis://s1:26379,s2:26379/0?master_name=NAME          Sentinels; their own login: ?sentinel_username=&sentinel_password=
//
// `addr=host:port`, repeated, adds to the list as go-redis' own URLs do. An
// error never repeats the URL: it may hold a password.
func parseRedis(s string) (redisTarget, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return redisTarget{}, errors.New("no scheme: want redis://, rediss:// or unix://")
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return redisTarget{}, errors.New("the part after the question mark cannot be read")
	}
	t := redisTarget{network: "tcp"}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := t.login(rest[:at]); err != nil {
			return redisTarget{}, err
		}
		rest = rest[at+1:]
	}
	switch scheme {
	case "unix":
		if t.network, t.addrs = "unix", []string{rest}; !strings.HasPrefix(rest, "/") {
			return redisTarget{}, errors.New("unix:// needs the absolute path of a socket")
		}
	case "rediss", "redis":
		if err := t.hosts(rest, query["addr"]); err != nil {
			return redisTarget{}, err
		}
	default:
		return redisTarget{}, fmt.Errorf("scheme %q: want redis://, rediss:// or unix://", scheme)
	}
	return t, t.words(scheme, query)
}

// login reads user:password, each percent-encoded where it must be.
func (t *redisTarget) login(s string) error {
	user, password, found := strings.Cut(s, ":")
	if !found {
		user, password = "", user // redis://secret@host, as old URLs have it.
	}
	var err1, err2 error
	t.user, err1 = url.PathUnescape(user)
	t.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("the user or the password is not percent-encoded")
	}
	return nil
}

// hosts reads host:port[,host:port…][/db].
func (t *redisTarget) hosts(rest string, more []string) error {
	list, path, _ := strings.Cut(rest, "/")
	if path = strings.Trim(path, "/"); path != "" {
		db, err := strconv.Atoi(path)
		if err != nil || db < 0 {
			return fmt.Errorf("database %q: want a number", path)
		}
		t.db = db
	}
	for _, addr := range append(strings.Split(list, ","), more...) {
		if addr == "" {
			return errors.New("a host is missing")
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "6379")
		}
		t.addrs = append(t.addrs, addr)
	}
	return nil
}

// words reads what stands after the question mark; an unknown word is
// refused, so that a misspelt one is not silently without effect.
func (t *redisTarget) words(scheme string, query url.Values) error {
	known := []string{"addr", "db", "cluster", "master_name", "sentinel_username", "sentinel_password", "skip_verify"}
	for word := range query {
		if !slices.Contains(known, word) {
			return fmt.Errorf("option %q is not known: want one of %s", word, strings.Join(known, ", "))
		}
	}
	if query.Has("db") {
		db, err := strconv.Atoi(query.Get("db"))
		if err != nil || db < 0 {
			return fmt.Errorf("db %q: want a number", query.Get("db"))
		}
		t.db = db
	}
	t.master = query.Get("master_name")
	if query.Has("sentinel_username") || query.Has("sentinel_password") {
		t.sentinel = url.UserPassword(query.Get("sentinel_username"), query.Get("sentinel_password"))
	}
	t.cluster = t.master == "" && (len(t.addrs) > 1 || query.Get("cluster") == "true")
	if scheme == "rediss" {
		t.tlsConfig = t.encryption(query.Get("skip_verify") == "true")
	}
	return t.consistent()
}

// consistent refuses words that contradict each other.
func (t *redisTarget) consistent() error {
	if t.cluster && t.db != 0 {
		return errors.New("a Cluster has no databases: leave the number away")
	}
	if t.network == "unix" && (t.cluster || t.master != "") {
		return errors.New("a socket is one server: neither a Cluster nor a Sentinel")
	}
	return nil
}

// encryption makes the TLS settings. Of several hosts each certificate is held
// against its own host by the client.
func (t *redisTarget) encryption(anyCertificate bool) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: anyCertificate, //nolint:gosec // G402: only where the operator wrote skip_verify=true.
	}
	if len(t.addrs) == 1 {
		c.ServerName, _, _ = net.SplitHostPort(t.addrs[0])
	}
	return c
}

// redisDialTimeout bounds a connect of asynq's; ours are bounded by lane.Tune.
const redisDialTimeout = 2 * time.Second

// queueClient opens the client of the lanes, which never repeats a command on
// its own: after a lost reply one append would become two.
func (t redisTarget) queueClient(pool int) redis.UniversalClient {
	o := t.options("patchlane-lanes", pool)
	lane.Tune(o)
	return t.open(o)
}

// mirrorClient opens the client of everything that may be repeated: copies of
// records, replies, health. It gets over the connections that a restarted
// server leaves broken in the pool.
func (t redisTarget) mirrorClient(pool int) redis.UniversalClient {
	o := t.options("patchlane-mirror", pool)
	lane.Tune(o)
	o.MaxRetries = 2
	return t.open(o)
}

func (t redisTarget) options(name string, pool int) *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs: t.addrs, ClientName: name, DB: t.db, Username: t.user, Password: t.password,
		MasterName: t.master, IsClusterMode: t.cluster, TLSConfig: t.tlsConfig, PoolSize: pool,
	}
	if t.sentinel != nil {
		o.SentinelUsername = t.sentinel.Username()
		o.SentinelPassword, _ = t.sentinel.Password()
	}
	return o
}

func (t redisTarget) open(o *redis.UniversalOptions) redis.UniversalClient {
	if t.network == "unix" {
		simple := o.Simple()
		simple.Network = t.network
		return redis.NewClient(simple)
	}
	return redis.NewUniversalClient(o)
}

// asynq returns how asynq connects: with a pool of its own and its own
// retries, since its fetch loop does not pause on errors.
func (t redisTarget) asynq(pool int) asynq.RedisConnOpt {
	switch {
	case t.master != "":
		o := asynq.RedisFailoverClientOpt{
			MasterName: t.master, SentinelAddrs: t.addrs, Username: t.user, Password: t.password,
			DB: t.db, DialTimeout: redisDialTimeout, PoolSize: pool, TLSConfig: t.tlsConfig,
		}
		if t.sentinel != nil {
			o.SentinelUsername = t.sentinel.Username()
			o.SentinelPassword, _ = t.sentinel.Password()
		}
		return o
	case t.cluster:
		return asynq.RedisClusterClientOpt{
			Addrs: t.addrs, Username: t.user, Password: t.password,
			DialTimeout: redisDialTimeout, TLSConfig: t.tlsConfig,
		}
	default:
		return asynq.RedisClientOpt{
			Network: t.network, Addr: t.addrs[0], Username: t.user, Password: t.password,
			DB: t.db, DialTimeout: redisDialTimeout, PoolSize: pool, TLSConfig: t.tlsConfig,
		}
	}
}
