package lane_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"patchlane/tasks/contact"
	"patchlane/tasks/lane"
	"patchlane/tasks/lane/lanetest"
)

// BenchmarkAppend compares gathered appends, with everything that they check,
// against one bare XADD a request, on a Redis that fsyncs every answer.
func BenchmarkAppend(b *testing.B) {
	s := lanetest.Start(b, true)
	on := setupOn(b, s.Client(b), func(c *lane.Config) {
		c.Counts = contact.LaneCounts{Contact: 32}
		c.Limit, c.Share = 1<<30, 1
	})
	writes := make([]*contact.Write, 4096)
	for i := range writes {
		writes[i] = write(b, on)
	}
	b.Run("gathered", func(b *testing.B) {
		a := on.appender(b)
		run(b, func(n int) error {
			_, err := a.Append(b.Context(), writes[n%len(writes)])
			return err
		})
	})
	b.Run("one XADD a request", func(b *testing.B) {
		run(b, func(n int) error {
			w := writes[n%len(writes)]
			return on.rdb.XAdd(b.Context(), &redis.XAddArgs{
				Stream: "bare:" + on.lanes.Lane(w.Contact).String(),
				Values: []any{"e", contact.Encode(w)},
			}).Err()
		})
	})
}

// run spreads the work over 64 clients for each processor.
func run(b *testing.B, do func(n int) error) {
	b.Helper()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if err := do(n); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
