package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// maven is where the binaries come from.
const maven = "https://repo1.maven.org/maven2"

// cacheDir is where downloaded binaries are kept: a folder that the user who
// will run them can get at.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if os.Geteuid() == 0 || err != nil {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "patchlane")
}

// download fetches the binaries of Postgres, once a machine and release, and
// returns their folder. The library can only start a server as well, with this
// process' user: a server that came up is stopped at once, and root's failure
// at initdb comes after the unpacking, which is all that is wanted here.
func download(ctx context.Context, repository, cache string, logger *slog.Logger) (string, error) {
	home := filepath.Join(cache, "postgres-"+string(embedded.V17))
	bin := filepath.Join(home, "bin")
	if holdsPostgres(bin) {
		return bin, nil
	}
	logger.InfoContext(ctx, "downloading postgres", "version", string(embedded.V17), "into", cache)
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // G301: holds public binaries that others run
		return "", fmt.Errorf("download postgres: %w", err)
	}
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := unpack(ctx, repository, cache, work); err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	// Renamed as a whole, so that nobody sees half of it; who comes second
	// takes what the first put there.
	if err := os.Rename(filepath.Join(work, "pg"), home); err != nil && !holdsPostgres(bin) {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	return bin, nil
}

// unpack puts the binaries into work/pg.
func unpack(ctx context.Context, repository, cache, work string) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	pg := filepath.Join(work, "pg")
	config := embedded.DefaultConfig().
		Version(embedded.V17).
		BinaryRepositoryURL(repository).
		Port(uint32(port)). //nolint:gosec // G115: a port
		CachePath(cache).
		BinariesPath(pg).
		RuntimePath(filepath.Join(work, "run")).
		DataPath(filepath.Join(work, "data")).
		Logger(io.Discard)
	db := embedded.NewDatabase(config)
	err = db.Start()
	if err == nil {
		return db.Stop()
	}
	if holdsPostgres(filepath.Join(pg, "bin")) {
		return nil
	}
	return errors.Join(err, errNoPostgres)
}
