package tasks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
)

func TestDrainRoundTrip(t *testing.T) {
	t.Parallel()
	for _, lane := range []contact.Lane{{Kind: 'c', N: 0}, {Kind: 'c', N: 17}, {Kind: 'a', N: 3}, {Kind: 'c', N: 2047}} {
		task, _ := tasks.NewDrain(lane, 42)
		if task.Type() != tasks.TypeDrain {
			t.Errorf("type %q, want %q", task.Type(), tasks.TypeDrain)
		}
		got, generation, err := tasks.ParseDrain(task)
		if err != nil || got != lane || generation != 42 {
			t.Errorf("read %s, %d, %v: want %s, 42", got, generation, err, lane)
		}
	}
}

func TestDrainID(t *testing.T) {
	t.Parallel()
	if id := tasks.DrainID(contact.Lane{Kind: 'c', N: 17}, 42); id != "c017-g42" {
		t.Errorf("id %q, want c017-g42", id)
	}
}

func TestDrainOptions(t *testing.T) {
	t.Parallel()
	for lane, queue := range map[contact.Lane]string{
		{Kind: 'c', N: 17}: "writes",
		{Kind: 'a', N: 3}:  "optouts",
	} {
		_, options := tasks.NewDrain(lane, 7)
		got := make([]string, 0, len(options))
		for _, o := range options {
			got = append(got, o.String())
		}
		want := []string{
			fmt.Sprintf("TaskID(%q)", lane.String()+"-g7"), fmt.Sprintf("Queue(%q)", queue), "MaxRetry(3)", "Timeout(2m0s)",
		}
		if !slices.Equal(got, want) {
			t.Errorf("options %v, want %v and neither Unique nor Retention", got, want)
		}
		if strings.ContainsAny(strings.Join(got, ""), "{}") {
			t.Errorf("options %v: braces move keys to another slot", got)
		}
	}
}

func TestParseDrainIsStrict(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		``,
		`null`,
		`{}`,
		`{"lane":"c017"}`,
		`{"lane":"c017","generation":0}`,
		`{"lane":"c017","generation":-1}`,
		`{"lane":"x017","generation":1}`,
		`{"lane":"c17","generation":1}`,
		`{"lane":"c017","generation":1,"extra":1}`,
		`{"lane":"c017","generation":1,"generation":2}`,
		`{"Lane":"c017","Generation":1}`,
		`{"generation":1,"lane":"c017"}`,
		`{"lane":"c017","generation":1} `,
		`{"lane":"c017","generation":1}{}`,
		`{"lane":"c017","generation":9223372036854775808}`,
	} {
		if lane, generation, err := tasks.ParseDrain(asynq.NewTask(tasks.TypeDrain, []byte(payload))); err == nil {
			t.Errorf("%s was read as %s, %d", payload, lane, generation)
		}
	}
}

func TestRingTwiceIsOnce(t *testing.T) {
	t.Parallel()
	server := lanetest.Start(t, false)
	redis := asynq.RedisClientOpt{Addr: server.Addr()}
	client := asynq.NewClient(redis)
	inspector := asynq.NewInspector(redis)
	t.Cleanup(func() { _ = client.Close(); _ = inspector.Close() })
	ring := tasks.Ring(client)
	lane := contact.Lane{Kind: 'c', N: 17}
	for range 3 {
		if err := ring(t.Context(), lane, 42); err != nil {
			t.Fatal(err)
		}
	}
	if err := ring(t.Context(), lane, 43); err != nil {
		t.Fatal(err)
	}
	pending, err := inspector.ListPendingTasks(tasks.QueueWrites)
	if err != nil || len(pending) != 2 {
		t.Fatalf("%d tasks, %v: want one a generation", len(pending), err)
	}
	info, err := inspector.GetTaskInfo(tasks.QueueWrites, "c017-g42")
	if err != nil || info.MaxRetry != 3 || info.Timeout != 2*time.Minute || info.Retention != 0 {
		t.Errorf("task %+v, %v", info, err)
	}
}

func TestRingFailsWithoutRedis(t *testing.T) {
	t.Parallel()
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	err := tasks.Ring(client)(t.Context(), contact.Lane{Kind: 'c', N: 17}, 42)
	if err == nil || !strings.Contains(err.Error(), "ring lane c017, generation 42") {
		t.Errorf("error %v, want the lane and its generation", err)
	}
}
