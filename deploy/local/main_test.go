package local

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// childDir makes the test binary a program that starts both servers with
// their data in the named folder, prints their process ids and waits for its
// death.
const childDir = "PATCHLANE_LOCAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func child(dir string) error {
	ctx := context.Background()
	pg, err := StartPostgres(ctx, PostgresOptions{Dir: dir + "/postgres"})
	if err != nil {
		return err
	}
	rd, err := StartRedis(ctx, RedisOptions{Dir: dir + "/redis", Durable: true, NoStandIn: true})
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(strconv.Itoa(pg.PID()) + " " + strconv.Itoa(rd.PID()) + "\n"); err != nil {
		return err
	}
	<-pg.Done()
	return nil
}
