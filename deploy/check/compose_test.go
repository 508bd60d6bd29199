package check_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// secrets runs deploy/secrets.sh and returns what it prints.
func secrets(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../secrets.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// compose reads docker-compose.yml as Docker Compose does, schema and all.
func compose(t *testing.T, env []string) (*types.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{tree + "/docker-compose.yml"},
		cli.WithEnv(env), cli.WithProfiles([]string{"*"}), cli.WithName("patchlane"))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(t.Context())
}

// TestComposeNeedsSecrets holds that there is no default password: without the
// file that secrets.sh makes nothing starts, and no two passwords are the same.
func TestComposeNeedsSecrets(t *testing.T) {
	t.Parallel()
	if _, err := compose(t, nil); err == nil || !strings.Contains(err.Error(), "secrets.sh") {
		t.Errorf("without secrets: %v", err)
	}
	all := append(secrets(t), secrets(t)...)
	values := map[string]bool{}
	for _, line := range all {
		_, value, _ := strings.Cut(line, "=")
		if len(value) < 32 || values[value] {
			t.Errorf("%q is short, or not the first of its kind", line)
		}
		values[value] = true
	}
}

// TestComposeShape holds what the file promises operators: two of each role, no
// privilege, bounded memory, health checks, ports on the loopback alone, files
// that exist.
func TestComposeShape(t *testing.T) {
	t.Parallel()
	p, err := compose(t, secrets(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s: %v, read-only %v", name, v.Source, err, v.ReadOnly)
			}
		}
		if s.Image == "patchlane" && (!s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || len(s.Ports) > 0 && name != "api") {
			t.Errorf("%s may do more than it needs", name)
		}
		if stays := s.Restart == types.RestartPolicyUnlessStopped; stays && (s.HealthCheck == nil || s.Deploy == nil || s.Deploy.Resources.Limits == nil) {
			t.Errorf("%s has no health check or no limit", name)
		}
	}
	for _, role := range []string{"api", "worker"} {
		if s := p.Services[role]; s.Deploy == nil || s.Deploy.Replicas == nil || *s.Deploy.Replicas != 2 {
			t.Errorf("there are not two of %s", role)
		}
	}
}

// TestComposeRuns starts what the file starts, in its order, but for the
// containers: Redis with the file's arguments, the migration, both roles and the
// command that makes an account.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	p, err := compose(t, []string{
		"POSTGRES_PASSWORD=" + password, "REDIS_PASSWORD=" + password,
		"PATCHLANE_OPS_TOKEN=" + password, "GRAFANA_PASSWORD=" + password,
	})
	if err != nil {
		t.Fatal(err)
	}
	file, database := binary(), postgres(t)
	command := p.Services["redis"].Command
	if command[0] != "redis-server" {
		t.Fatalf("redis runs %v", command)
	}
	queue := redis(t, command[1:]...)
	of := func(name string) process {
		s := p.Services[name]
		env := map[string]string{}
		for key, value := range s.Environment {
			env[key] = *value
		}
		pointTo(t, env, database, queue)
		return process{args: s.Command, env: env, health: healthPath(t, s)}
	}
	of("migrate").once(t, file)
	admin := of("admin")
	if entry := p.Services["admin"].Entrypoint; filepath.Base(entry[0]) != "patchlane" {
		t.Errorf("admin runs %v", entry)
	}
	admin.args = []string{p.Services["admin"].Entrypoint[1], "account", "create", "--name", "demo"}
	admin.once(t, file)
	for _, role := range []string{"api", "worker"} {
		of(role).serve(t, file)
	}
}

// healthPath returns what the health check of a service asks of its ops listener.
func healthPath(t *testing.T, s types.ServiceConfig) []string {
	t.Helper()
	if s.HealthCheck == nil {
		return nil
	}
	u, err := url.Parse(s.HealthCheck.Test[len(s.HealthCheck.Test)-1])
	if err != nil {
		t.Fatal(err)
	}
	if ops := *s.Environment["PATCHLANE_OPS_LISTEN"]; ":"+u.Port() != ops {
		t.Errorf("%s listens on %s, its health check asks %s", s.Name, ops, u)
	}
	return []string{u.RequestURI()}
}

// TestPrometheusReadsItsConfig lets promtool read what Prometheus is given.
func TestPrometheusReadsItsConfig(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", "--syntax-only", "../prometheus.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
