package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// TestEveryDefenceHasItsTest holds the table of threats in the README: every test
// that it names is there.
func TestEveryDefenceHasItsTest(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## Security\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| [^|]+ \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(section, -1)
	if !found || len(rows) < 10 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	number := regexp.MustCompile(` \([0-9, ]+\)$`)
	for _, row := range rows[1:] { // the first is the head
		for name := range strings.SplitSeq(row[1], "; ") {
			dir, function, _ := strings.Cut(number.ReplaceAllString(name, ""), " ")
			if !slices.Contains(testsIn(t, dir), function) {
				t.Errorf("there is no test %q", name)
			}
		}
	}
}

// TestKeysAreNowhereInClear uses a key and a token of it and then looks for both
// in every table of Postgres, every value of Redis, and the logs.
func TestKeysAreNowhereInClear(t *testing.T) {
	t.Parallel()
	s, server := newSite(t)
	id := s.makeKey()
	a, w := s.start("api", "--log-level", "debug").ready(), s.start("worker", "--log-level", "debug").ready()
	path := a.create()
	if r := a.do(http.MethodPatch, path, `{"job_title":"CEO"}`, "Prefer", "wait=20", "Idempotency-Key", "once"); r.Status != http.StatusOK {
		t.Fatalf("patch: %d %s", r.Status, r.raw)
	}
	res, err := s.http.PostForm(a.API+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {s.key},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatalf("token: %d %v", res.StatusCode, err)
	}
	secrets := []string{s.key, strings.TrimPrefix(s.key, "pl_"), token.AccessToken}
	search := func(where, text string) {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a key or a token", where)
			}
		}
	}
	search("the log of the api", a.log.String())
	search("the log of the worker", w.log.String())
	db := dialPostgres(t, s.db)
	rows, err := db.Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 15 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, table := range tables {
		var text *string
		if err := db.QueryRow(t.Context(), `SELECT string_agg(t::text, ' ') FROM `+table+` t`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		if text != nil {
			search("table "+table, *text)
		}
	}
	searchRedis(t, server.Client(t), search)
}

// searchRedis hands out every key and value.
func searchRedis(t *testing.T, rdb *redis.Client, search func(where, text string)) {
	t.Helper()
	// DUMP compresses like the file that it makes a part of.
	if err := rdb.ConfigSet(t.Context(), "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) < 5 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, key := range keys {
		search("the name of a key in Redis", key)
		value, err := rdb.Dump(t.Context(), key).Result()
		if err == nil {
			search("Redis at "+key, value)
		}
	}
}
