package tasks_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"patchlane/tasks"
	"patchlane/tasks/contact"
	"patchlane/tasks/lane/lanetest"
)

func TestCollectorDescribesTheQueues(t *testing.T) {
	t.Parallel()
	rdb := lanetest.New(t)
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	collector := tasks.NewCollector(inspector)
	if n := testutil.CollectAndCount(collector); n != 21 {
		t.Errorf("%d series before the first ring, want 21", n)
	}
	client := asynq.NewClientFromRedisClient(rdb)
	for generation := range int64(3) {
		if err := tasks.Ring(client)(t.Context(), contact.Lane{Kind: 'c', N: 3}, generation+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := inspector.PauseQueue(tasks.QueueWrites); err != nil {
		t.Fatal(err)
	}
	err := testutil.CollectAndCompare(collector, strings.NewReader(`
# HELP patchlane_asynq_paused 1 while the queue is paused by asynq's own means, which the sweep undoes.
# TYPE patchlane_asynq_paused gauge
patchlane_asynq_paused{queue="optouts"} 0
patchlane_asynq_paused{queue="writes"} 1
# HELP patchlane_asynq_tasks Tasks in the queue by state: rings, not writes.
# TYPE patchlane_asynq_tasks gauge
patchlane_asynq_tasks{queue="optouts",state="active"} 0
patchlane_asynq_tasks{queue="optouts",state="archived"} 0
patchlane_asynq_tasks{queue="optouts",state="pending"} 0
patchlane_asynq_tasks{queue="optouts",state="retry"} 0
patchlane_asynq_tasks{queue="optouts",state="scheduled"} 0
patchlane_asynq_tasks{queue="writes",state="active"} 0
patchlane_asynq_tasks{queue="writes",state="archived"} 0
patchlane_asynq_tasks{queue="writes",state="pending"} 3
patchlane_asynq_tasks{queue="writes",state="retry"} 0
patchlane_asynq_tasks{queue="writes",state="scheduled"} 0
# HELP patchlane_asynq_up 1 when asynq described its queues for this scrape.
# TYPE patchlane_asynq_up gauge
patchlane_asynq_up 1
`), "patchlane_asynq_up", "patchlane_asynq_tasks", "patchlane_asynq_paused")
	if err != nil {
		t.Error(err)
	}
}

// hanging is an inspector that answers when it is let go.
type hanging struct{ goOn chan struct{} }

func (h hanging) Queues() ([]string, error) {
	<-h.goOn
	return nil, errors.New("away")
}

func (h hanging) GetQueueInfo(string) (*asynq.QueueInfo, error) { return nil, errors.New("away") }

func TestCollectorDoesNotWaitForAHangingRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{})}
		collector := tasks.NewCollector(h)
		for try, most := range []time.Duration{2 * time.Second, 0} {
			began := time.Now()
			// The second scrape finds the first one's question still open.
			if n := testutil.CollectAndCount(collector); n != 1 {
				t.Errorf("scrape %d: %d series, want up alone", try, n)
			}
			if took := time.Since(began); took > most {
				t.Errorf("scrape %d took %s, want at most %s", try, took, most)
			}
		}
		close(h.goOn)
	})
}
