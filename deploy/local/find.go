package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// errNoPostgres says what to do where no Postgres was found.
var errNoPostgres = errors.New("no Postgres server on this machine: run deploy/deps.sh, " +
	"or set PATCHLANE_POSTGRES_BIN to the folder of initdb and postgres")

// findPostgres returns the folder that holds initdb and postgres. A folder that
// the environment names is taken or refused, never passed over.
func findPostgres(ctx context.Context) (string, error) {
	if dir := os.Getenv("PATCHLANE_POSTGRES_BIN"); dir != "" {
		if !holdsPostgres(dir) {
			return "", fmt.Errorf("find postgres: PATCHLANE_POSTGRES_BIN=%s has no initdb and postgres", dir)
		}
		return filepath.Abs(dir)
	}
	for _, dir := range postgresFolders(ctx) {
		if holdsPostgres(dir) {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

// postgresFolders lists the places to look at, the likeliest first.
func postgresFolders(ctx context.Context) []string {
	var dirs []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, name := range []string{"postgres", "initdb"} {
		// A link on PATH leads to the folder where its siblings are.
		if path, err := exec.LookPath(name); err == nil {
			dirs = append(dirs, filepath.Dir(path))
			if real, err := filepath.EvalSymlinks(path); err == nil {
				dirs = append(dirs, filepath.Dir(real))
			}
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
		"/usr/pgsql-*/bin",                  // PGDG on Red Hat
		"/opt/homebrew/opt/postgresql*/bin", // Homebrew on Apple silicon
		"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are constants
		}
		slices.SortFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

// versionIn reads the first number of a path, such as 15 of
// /usr/lib/postgresql/15/bin; 0 when there is none.
func versionIn(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, err := strconv.Atoi(digits[0])
	if err != nil {
		return 0
	}
	return n
}

// holdsPostgres tells whether a folder has the two programs that are needed.
func holdsPostgres(dir string) bool {
	return executable(filepath.Join(dir, "postgres")) && executable(filepath.Join(dir, "initdb"))
}

// executable tells whether a file can be run.
func executable(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // G703: where to look is the user's to say
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// findRedis returns the path of redis-server (or of valkey-server, which is
// the same here), or "" when there is none.
func findRedis() (string, error) {
	if path := os.Getenv("PATCHLANE_REDIS_SERVER"); path != "" {
		if !executable(path) {
			return "", fmt.Errorf("find redis: PATCHLANE_REDIS_SERVER=%s is no program", path)
		}
		return filepath.Abs(path)
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	for _, path := range []string{
		"/opt/homebrew/bin/redis-server", "/opt/homebrew/opt/redis/bin/redis-server",
		"/usr/local/opt/redis/bin/redis-server", "/usr/local/bin/redis-server", "/usr/bin/redis-server",
	} {
		if executable(path) {
			return path, nil
		}
	}
	return "", nil
}
