package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

// TestSystemdRuns reads the units and starts what they start, with the settings
// of deploy/env.example in the EnvironmentFile.
func TestSystemdRuns(t *testing.T) {
	t.Parallel()
	file, database := binary(), postgres(t)
	queue := redis(t, "--requirepass", password, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	example := map[string]string{}
	text, err := os.ReadFile("../env.example")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, is := strings.Cut(strings.TrimSpace(line), "="); is && !strings.HasPrefix(name, "#") {
			example[name] = value
		}
	}
	example["PATCHLANE_OPS_TOKEN"] = password
	example["PATCHLANE_OPS_LISTEN"] = "127.0.0.1:9090"
	pointTo(t, example, database, queue)
	for _, role := range []string{"migrate", "api", "worker"} {
		u := readUnit(t, "../systemd/patchlane-"+role+".service")
		args := strings.Fields(u["Service.ExecStart"])
		if filepath.Base(args[0]) != "patchlane" || u["Service.EnvironmentFile"] == "" || u["Service.DynamicUser"] != "yes" {
			t.Errorf("%s runs %v with %q as user %q", role, args, u["Service.EnvironmentFile"], u["Service.DynamicUser"])
		}
		p := process{args: args[1:], env: example, health: []string{"/livez", "/readyz"}}
		if u["Service.Type"] == "oneshot" {
			p.once(t, file)
			continue
		}
		if !strings.Contains(u["Unit.Requires"], "patchlane-migrate.service") || u["Service.KillSignal"] != "SIGTERM" {
			t.Errorf("%s starts before the schema is there, or is not stopped gracefully", role)
		}
		p.serve(t, file)
	}
}

// readUnit returns the last value of each option of a unit.
func readUnit(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	values := map[string]string{}
	for _, o := range options {
		values[o.Section+"."+o.Name] = o.Value
	}
	return values
}
