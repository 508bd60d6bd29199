package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"patchlane/api/signature"
)

// small are the faults that leave both servers and both processes alive. They do
// not disturb each other.
func (d *drill) small() []exercise {
	stuckPath, stuckLane := d.quiet()
	lostPath, lostLane := d.quiet(stuckLane)
	rdb := d.redis.Client(d.t)
	return []exercise{
		{"a session holds the row of a lane", []string{"PatchlaneLaneStuck"}, func() func() {
			conn := d.session("BEGIN", "SELECT FROM lanes WHERE lane = '"+stuckLane.String()+"' FOR UPDATE")
			d.patch(stuckPath)
			return func() { d.exec(conn, "ROLLBACK"); _ = conn.Close(d.t.Context()) }
		}},
		{"the stream of a lane is deleted", []string{"PatchlaneGuardAlarm"}, func() func() {
			d.patch(lostPath)
			d.eventually(10*time.Second, "the lane is applied", func() error {
				if n, err := rdb.XLen(d.t.Context(), streamOf(lostLane.N)).Result(); err != nil || n > 0 {
					return errNotYet
				}
				return nil
			})
			d.must(rdb.Del(d.t.Context(), streamOf(lostLane.N)).Err())
			return func() {}
		}},
		{"an entry of no codec in a stream", []string{"PatchlaneUnappliableWrites"}, func() func() {
			poison(d.t, d.redis)
			return func() {}
		}},
		{"a client sends old versions", []string{"PatchlaneFailedWrites"}, func() func() {
			return d.repeat(50*time.Millisecond, func() { d.patch(d.traffic.paths[0], "If-Match", `"999999"`) })
		}},
		{"a webhook secret that is not ours", []string{"PatchlaneSignatureFailures"}, func() func() {
			e := d.garbage(signature.Standard)
			e.Key = d.wrongKey()
			return d.repeat(200*time.Millisecond, func() { _, _ = e.Post(d.t.Context(), d.http, time.Now()) })
		}},
		{"signed events that nobody can read", []string{"PatchlaneQuarantine"}, func() func() {
			d.post(d.garbage(signature.SendGrid))
			return func() {}
		}},
		{"maxmemory is nearly reached", []string{"PatchlaneRedisMemory"}, func() func() {
			// What it uses goes up and down with its buffers.
			stop := d.repeat(200*time.Millisecond, func() { d.must(tighten(d.t.Context(), rdb)) })
			return func() { stop(); d.must(rdb.ConfigSet(d.t.Context(), "maxmemory", "0").Err()) }
		}},
	}
}

// large are the faults that stop the stack; each has a stage of its own.
func (d *drill) large() [][]exercise {
	rdb := d.redis.Client(d.t)
	return [][]exercise{
		{{"an SNS subscription is ended", []string{"PatchlaneFeedCut"}, func() func() {
			d.endFeed()
			return func() {}
		}}},
		{{"asynq's list of tasks is no list", []string{"PatchlaneTakeovers"}, func() func() {
			const pending = "asynq:{writes}:pending"
			stop := d.repeat(20*time.Millisecond, func() { _ = rdb.Set(d.t.Context(), pending, "x", 0).Err() })
			return func() { stop(); d.must(rdb.Del(d.t.Context(), pending).Err()) }
		}}},
		{{"appendfsync everysec", []string{"PatchlaneNotDurable"}, func() func() {
			d.must(rdb.ConfigSet(d.t.Context(), "appendfsync", "everysec").Err())
			return func() { d.must(rdb.ConfigSet(d.t.Context(), "appendfsync", "always").Err()) }
		}}},
		{{"kill -9 of Redis", []string{"PatchlaneRedisAway", "PatchlaneAcceptErrors", "PatchlaneAcceptErrorsSlowly"}, func() func() {
			d.redis.Kill()
			return d.redis.Restart
		}}},
		{{"kill -9 of Postgres, for 15 s", []string{
			"PatchlanePostgresAway", "PatchlaneOldestWrite", "PatchlaneWritesLate", "PatchlaneWritesLateSlowly",
			"PatchlaneOptoutsLate", "PatchlaneOptoutsLateSlowly",
		}, func() func() {
			d.must(syscall.Kill(d.pg.PID(), syscall.SIGKILL))
			<-d.pg.Done()
			// Lateness is seen when the outcomes come: after the restart.
			back := make(chan struct{})
			timer := time.AfterFunc(15*time.Second, func() {
				defer close(back)
				d.must(d.pg.Restart(d.t.Context()))
			})
			return func() {
				if timer.Stop() {
					d.must(d.pg.Restart(d.t.Context()))
					return
				}
				<-back
			}
		}}},
		{{"the worker is gone", []string{"PatchlaneProcessDown", "PatchlaneNoWorker"}, func() func() {
			d.worker.stop()
			d.worker.ended()
			return d.startWorker
		}}},
		{{"nobody may create a partition", []string{"PatchlanePartitionsMissing"}, func() func() {
			conn := d.session(
				`DO $$ DECLARE p text; BEGIN FOR p IN SELECT inhrelid::regclass::text FROM pg_inherits
					WHERE inhparent = 'writes'::regclass ORDER BY 1 DESC LIMIT 12 LOOP
					IF p !~ 'default' AND p !~ to_char(now(), 'YYYY_MM') THEN EXECUTE 'DROP TABLE ' || p; END IF;
				END LOOP; END $$`,
				`CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$`,
				`CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forbid()`)
			d.worker.stop()
			d.worker.ended()
			d.startWorker()
			return func() {
				d.exec(conn, "DROP EVENT TRIGGER forbid")
				_ = conn.Close(d.t.Context())
				d.worker.stop()
				d.worker.ended()
				d.startWorker()
			}
		}}},
	}
}

// startWorker starts a worker where the last one was.
func (d *drill) startWorker() {
	d.worker = d.start("worker", "--ops-listen", d.workerOps).ready()
}

func (d *drill) must(err error) {
	if err != nil {
		d.t.Error(err)
	}
}

// session opens a session of Postgres and runs statements in it.
func (d *drill) session(statements ...string) *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.pg.URL())
	if err != nil {
		d.t.Error(err)
		return nil
	}
	for _, s := range statements {
		d.exec(conn, s)
	}
	return conn
}

func (d *drill) exec(conn *pgx.Conn, statement string) {
	d.t.Helper()
	_, err := conn.Exec(d.t.Context(), statement)
	d.must(err)
}

// wrongKey is a secret that no endpoint has.
func (d *drill) wrongKey() string { return "whsec_" + strings.Repeat("d3Jvbmc", 6) }

// tighten leaves Redis a little more memory than it uses.
func tighten(ctx context.Context, rdb *redis.Client) error {
	info, err := rdb.Info(ctx, "memory").Result()
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	text, _, _ := strings.Cut(rest, "\r\n")
	used, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	return rdb.ConfigSet(ctx, "maxmemory", strconv.Itoa(used*115/100)).Err()
}

// streamOf is the stream of a contact lane.
func streamOf(n int) string { return "{c:" + strconv.Itoa(1000 + n)[1:] + "}:log" }

// endFeed posts what SNS posts when somebody unsubscribes the endpoint.
func (d *drill) endFeed() {
	e := d.endpoints[signature.SES]
	body, err := json.Marshal(map[string]string{
		"Type": "UnsubscribeConfirmation", "MessageId": "drill", "TopicArn": drillTopic, "SigningCertURL": e.keys.CertURL,
		"Message": "You have chosen to deactivate the subscription.", "Token": "drill",
		"SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + drillTopic + "&Token=drill",
	})
	d.must(err)
	req := signature.Request{
		Method: http.MethodPost, Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}}, Body: body, ReceivedAt: time.Now(),
	}
	d.must(signature.Sign(signature.Endpoint{Provider: signature.SES, TopicARN: drillTopic}, &req, e.keys.Key))
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.api.API+"/v1/webhooks/"+e.id, bytes.NewReader(req.Body))
	d.must(err)
	r.Header = req.Header
	if page := d.page(r); strings.Contains(page, "error") {
		d.t.Errorf("unsubscribe confirmation: %s", page)
	}
}
