package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"patchlane/store/storetest"
	"patchlane/tasks/lane/lanetest"
)

// TestMain lets this test binary be the program, for scripts and for the
// children of the demo, and looks for leaks when it is not.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"patchlane": main})
}

// suite runs the tests, stops their servers and looks for leaked goroutines.
type suite struct{ m *testing.M }

// Run is called unless this process is the program itself.
func (s suite) Run() int {
	redis.SetLogger(silent{})
	code := s.m.Run()
	if err := storetest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// TestScripts runs the command line as a shell would, each script on a
// database of its own that was never migrated.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				return fmt.Errorf("%T is no testing.TB", env.T())
			}
			env.Setenv("DATABASE_URL", storetest.Empty(tb))
			env.Setenv("REDIS_URL", lanetest.Start(tb, true).URL())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"field": field,
			"exits": exits,
		},
	})
}

// field puts a member of the JSON object on standard output into a variable:
// field NAME member.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field NAME member")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	value, found := object[args[1]]
	if !found {
		ts.Fatalf("no member %s in %v", args[1], object)
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// exits runs a program and expects an exit code: exits CODE program args.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [args]")
	}
	err, code := ts.Exec(args[1], args[2:]...), 0
	if exit, exited := errors.AsType[*exec.ExitError](err); exited {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("exec: %v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
