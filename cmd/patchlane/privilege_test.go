package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
	"patchlane/store/storetest"
	"patchlane/tasks/lane/lanetest"
)

// Of the servers of this test only.
const rolePassword = "a-password-of-a-test"

// roles makes the Postgres roles and Redis users of deploy for one installation.
type roles struct {
	t     *testing.T
	admin string
	super *pgx.Conn
}

// as returns the address of the database for a member of a role.
func (r *roles) as(role string) string {
	r.t.Helper()
	name := "member_of_" + role
	for _, sql := range []string{
		`DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '` + name + `') THEN CREATE ROLE ` + name + `; END IF; END $$`,
		`ALTER ROLE ` + name + ` LOGIN NOSUPERUSER PASSWORD '` + rolePassword + `'`,
		`GRANT ` + role + ` TO ` + name,
		`ALTER ROLE ` + name + ` SET role = ` + role,
	} {
		if _, err := r.super.Exec(r.t.Context(), sql); err != nil {
			r.t.Fatalf("%s: %v", sql, err)
		}
	}
	u, err := url.Parse(r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	u.User = url.UserPassword(name, rolePassword)
	return u.String()
}

// apply runs deploy/postgres-roles.sql.
func (r *roles) apply() error {
	r.t.Helper()
	script, err := os.ReadFile("../../deploy/postgres-roles.sql")
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = r.super.PgConn().Exec(r.t.Context(), string(script)).ReadAll()
	if err != nil {
		_, _ = r.super.Exec(r.t.Context(), `ROLLBACK`)
	}
	return err
}

// dial opens a connection that ends with the test.
func dialPostgres(t *testing.T, to string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// redisUsers gives a Redis the users of deploy/redis-users.acl, with passwords,
// and returns the address for each of them.
func redisUsers(t *testing.T, server *lanetest.Server) func(user string) string {
	t.Helper()
	file, err := os.ReadFile("../../deploy/redis-users.acl")
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	for line := range strings.Lines(string(file)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "user" {
			continue
		}
		args := []any{"ACL", "SETUSER"}
		for _, w := range words[1:] {
			args = append(args, w)
		}
		if words[1] != "default" {
			args = append(args, ">"+rolePassword)
		}
		if err := rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return func(user string) string { return "redis://" + user + ":" + rolePassword + "@" + server.Addr() + "/0" }
}

// TestLeastPrivilege runs an API and a worker, each with the rights of deploy
// alone, through everything that they do, and then tries what they must not.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	r := &roles{t: t, admin: storetest.Empty(t)}
	r.super = dialPostgres(t, r.admin)
	if err := r.apply(); err != nil {
		t.Fatal(err)
	}
	server := lanetest.Start(t, true)
	user := redisUsers(t, server)
	owner := &site{tb: t, db: r.as("patchlane_migrate"), redis: user("patchlane-admin"), http: testClient(t)}
	owner.migrate()
	if err := r.apply(); err != nil {
		t.Fatal(err)
	}
	owner.makeKey()
	forAPI, forWorker := *owner, *owner
	forAPI.db, forAPI.redis = r.as("patchlane_api"), user("patchlane-api")
	forWorker.db, forWorker.redis = r.as("patchlane_worker"), user("patchlane-worker")
	a := forAPI.start("api", "--notes-limit", "1000").ready()
	w := forWorker.start("worker", "--notes-limit", "1000", "--retain", "9000h", "--retain-events", "9000h").ready()
	everything(a, owner)
	for _, n := range []*node{a, w} {
		for _, word := range []string{"42501", "permission denied", "NOPERM", "can't run this command", "must be owner"} {
			if i := strings.Index(n.log.String(), word); i >= 0 {
				t.Errorf("the log says %q: %.600s", word, n.log.String()[max(0, i-400):])
			}
		}
	}
	r.refused(t, forAPI.db, forWorker.db)
	refusedByRedis(t, forAPI.redis, forWorker.redis)
	if _, err := r.super.Exec(t.Context(), `CREATE TABLE nobody_thought_of ()`); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(); err == nil || !strings.Contains(err.Error(), "nobody_thought_of") {
		t.Errorf("a table without rights: %v", err)
	}
}

// migrate brings the schema of a site up to date.
func (s *site) migrate() {
	s.tb.Helper()
	var out, errs strings.Builder
	args := []string{"migrate", "--database-url", s.db}
	if code := run(s.tb.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK {
		s.tb.Fatalf("migrate: exit %d: %s", code, errs.String())
	}
}

// everything makes every kind of request that changes something.
func everything(a *node, owner *site) {
	t := owner.tb
	t.Helper()
	path := a.create()
	id := strings.TrimPrefix(path, "/v1/contacts/")
	ask := func(method, path, body string, want int, headers ...string) *reply {
		t.Helper()
		r := a.do(method, path, body, headers...)
		if r.Status != want {
			t.Errorf("%s %s: %d, want %d: %s", method, path, r.Status, want, r.raw)
		}
		return r
	}
	ask("POST", "/v1/tags", `{"name":"VIP"}`, 201)
	ask("POST", "/v1/custom-fields", `{"internal_name":"score","label":"Score","type":"number"}`, 201)
	ask("PATCH", path, `{"email":"ada@example.com","phone":"+4915123456789","tags":["VIP"],"custom_fields":{"score":7}}`, 200, "Prefer", "wait=20")
	ask("PATCH", path, `{"email":"other@example.com","notes_append":"x"}`, 200, "Prefer", "wait=20", "Idempotency-Key", "once", "If-Match", `"2"`)
	ask("POST", "/v1/contacts/batch", `{"writes":[{"id":"`+id+`","patch":{"source":"s"}},{"patch":{"first_name":"New"}}]}`, 207)
	ask("PATCH", path, `{"notes":"`+strings.Repeat("n", 999)+`"}`, 200, "Prefer", "wait=20")
	ask("PATCH", path, `{"notes_append":"too long"}`, 409, "Prefer", "wait=20")
	ask("GET", "/v1/writes?state=failed", "", 200)
	for _, verb := range []string{"retry", "discard"} {
		writes := ask("PATCH", path, `{"notes_append":"too long"}`, 202, "Prefer", "respond-async")
		ask("GET", "/v1/writes/"+writes.Data.WriteID, "", 200, "Prefer", "wait=20")
		if r := a.do("POST", "/v1/writes/"+writes.Data.WriteID+"/"+verb, "{}"); r.Status/100 != 2 {
			t.Errorf("%s: %d %s", verb, r.Status, r.raw)
		}
	}
	ask("GET", path, "", 200)
	ask("GET", "/v1/contacts?email=other@example.com", "", 200)
	ask("GET", "/v1/data/crm-logs?contact_id="+id, "", 200)
	ask("POST", "/v1/suppressions", `{"channel":"email","address":"other@example.com","reason":"complaint"}`, 201)
	ask("GET", "/v1/suppressions", "", 200)
	if r := a.do("DELETE", "/v1/suppressions?channel=email&address=other@example.com", ""); r.Status/100 != 2 {
		t.Errorf("delete suppression: %d %s", r.Status, r.raw)
	}
	ask("POST", "/v1/unsubscribe-links", `{"contact_id":"`+id+`"}`, 201)
	ask("GET", "/v1/optout-reviews", "", 200)
	ask("GET", "/v1/quarantined-events", "", 200)
	ask("GET", "/v1/webhook-endpoints", "", 200)
	hears(a, owner, path)
	ask("DELETE", path, "", 204)
	ask("POST", path+"/restore", "", 200, "Prefer", "wait=20")
	ask("DELETE", "/v1/tags/VIP?force=true", "", 204)
	ask("DELETE", "/v1/custom-fields/score?force=true", "", 204)
	ask("GET", "/.well-known/jwks.json", "", 200)
}

// hears posts an opt-out of a provider and waits for the flag, then changes and
// deletes the endpoint.
func hears(a *node, owner *site, path string) {
	t := owner.tb
	t.Helper()
	keys, err := simulate.NewKeys(signature.Standard, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := a.do("POST", "/v1/webhook-endpoints", `{"provider":"standard","secret":"`+keys.Secret+`"}`)
	if r.Status != http.StatusCreated {
		t.Fatalf("endpoint: %d %s", r.Status, r.raw)
	}
	var made struct{ ID string }
	if err := json.Unmarshal(r.raw, &made); err != nil {
		t.Fatal(err)
	}
	id := made.ID
	target := a.API + "/v1/webhooks/" + id
	d := simulate.Drill{
		Provider: signature.Standard, Event: simulate.Stop, Address: "+4915123456789", Key: keys.Key, Target: target, Signed: target,
	}
	owner.post(&d)
	owner.eventually(20*time.Second, "opted out", func() error {
		if c := a.consentOf(path); !c.SMS {
			return fmt.Errorf("%s", c)
		}
		return nil
	})
	if r := a.do("PATCH", "/v1/webhook-endpoints/"+id, `{"secrets":["`+keys.Secret+`"]}`); r.Status != http.StatusOK {
		t.Errorf("change endpoint: %d %s", r.Status, r.raw)
	}
	if r := a.do("DELETE", "/v1/webhook-endpoints/"+id, ""); r.Status != http.StatusNoContent {
		t.Errorf("delete endpoint: %d %s", r.Status, r.raw)
	}
}

// refused tries what no process may do.
func (r *roles) refused(t *testing.T, api, worker string) {
	t.Helper()
	for at, statements := range map[string][]string{
		api: {
			`INSERT INTO contacts SELECT * FROM contacts`, `UPDATE contacts SET notes = ''`, `DELETE FROM contacts`, `TRUNCATE contacts`,
			`INSERT INTO writes SELECT * FROM writes`, `UPDATE writes SET state = ''`, `DELETE FROM writes`, `DELETE FROM operator_log`,
			`INSERT INTO api_keys SELECT * FROM api_keys`, `UPDATE api_keys SET revoked_at = NULL`, `UPDATE accounts SET consent_lock = false`,
			`UPDATE lanes SET offsets = ''`, `UPDATE meta SET contact_lanes = 1`, `DELETE FROM suppressions`, `UPDATE secrets SET secret = ''`,
			`UPDATE signing_keys SET private = ''`, `CREATE TABLE x ()`, `CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
			`DROP TABLE contacts`, `ALTER TABLE contacts ADD x int`, `SELECT writes_empty('2026-01-01', 1)`, `SELECT writes_stage('2040-01-01')`,
			`UPDATE failed_writes SET payload = ''`, `SET ROLE patchlane_worker`, `SET ROLE patchlane_migrate`,
		},
		worker: {
			`SELECT * FROM api_keys`, `INSERT INTO secrets (name, secret) VALUES ('unsubscribe_links', repeat('x', 32)::bytea)`, `SELECT * FROM signing_keys`, `SELECT * FROM webhook_endpoints`, `SELECT * FROM credits`,
			`UPDATE accounts SET name = ''`, `INSERT INTO accounts SELECT * FROM accounts`, `UPDATE meta SET contact_lanes = 1`, `DELETE FROM lanes`,
			`TRUNCATE writes`, `DROP TABLE writes_default`, `CREATE TABLE x ()`, `ALTER TABLE contacts ADD x int`, `UPDATE operator_log SET via = ''`,
			`DELETE FROM operator_log`, `SET ROLE patchlane_migrate`, `SELECT * FROM schema_migrations`,
		},
	} {
		conn := dialPostgres(t, at)
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql)
			if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "42501" {
				t.Errorf("%s: %v, want 42501", sql, err)
			}
		}
	}
	var seen int
	if err := dialPostgres(t, worker).QueryRow(t.Context(), `SELECT count(*) FROM secrets WHERE name <> 'erased_addresses'`).Scan(&seen); err != nil || seen != 0 {
		t.Errorf("the worker sees %d secrets, %v", seen, err)
	}
	// What the worker may have done for it by the owner's functions.
	conn := dialPostgres(t, worker)
	for _, sql := range []string{`SELECT writes_stage('2040-01-01')`, `DO $$ BEGIN IF writes_stage('2041-01-01') THEN PERFORM writes_attach('2041-01-01'); END IF; END $$`, `SELECT writes_empty('2041-01-01', 10)`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// refusedByRedis tries what no process may ask of Redis.
func refusedByRedis(t *testing.T, api, worker string) {
	t.Helper()
	common := []string{
		"FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG SET appendfsync no", "CONFIG REWRITE", "SHUTDOWN NOSAVE", "MODULE LIST", "ACL LIST",
		"ACL SETUSER x on nopass ~* +@all", "REPLICAOF NO ONE", "SAVE", "BGREWRITEAOF", "MONITOR", "SCRIPT FLUSH", "CLIENT KILL TYPE normal", "DUMP {c:000}:log",
		"RESTORE x 0 y", "MIGRATE h 1 k 0 1", "RENAME {c:000}:log {c:001}:log", "GET other", "SET other x", "SWAPDB 0 1", "FUNCTION LIST", "SCAN 0", "CLIENT PAUSE 1000",
	}
	for at, commands := range map[string][]string{
		api:    {"XTRIM {c:000}:log MAXLEN 0"},
		worker: {"GET mirror:key:x", "GET mirror:secret:x", "GET mirror:endpoint:x", "GET mirror:signing", "GET limit:{x}:credits"},
	} {
		o, err := redis.ParseURL(at)
		if err != nil {
			t.Fatal(err)
		}
		rdb := redis.NewClient(o)
		for _, command := range append(commands, common...) {
			var args []any
			for word := range strings.FieldsSeq(command) {
				args = append(args, word)
			}
			if err := rdb.Do(t.Context(), args...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("%s may say %s: %v", o.Username, command, err)
			}
		}
		_ = rdb.Close()
	}
}
