package worker

import (
	"testing"

	"go.uber.org/goleak"

	"patchlane/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m,
		// A pool that could not dial looks once a second whether it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
