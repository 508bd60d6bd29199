package tasks_test

import (
	"bytes"
	"testing"

	"github.com/hibiken/asynq"

	"patchlane/tasks"
)

// FuzzParseDrain: a payload is one that we made, byte for byte, or refused.
func FuzzParseDrain(f *testing.F) {
	f.Add([]byte(`{"lane":"c017","generation":42}`))
	f.Add([]byte(`{"lane":"a003","generation":9223372036854775807}`))
	f.Add([]byte(`{"generation":1,"lane":"c017"}`))
	f.Add([]byte(`{"lane":"c17","generation":1e3}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		lane, generation, err := tasks.ParseDrain(asynq.NewTask(tasks.TypeDrain, payload))
		if err != nil {
			return
		}
		if again, _ := tasks.NewDrain(lane, generation); !bytes.Equal(again.Payload(), payload) {
			t.Fatalf("%q is taken for %s, %d", payload, lane, generation)
		}
	})
}
