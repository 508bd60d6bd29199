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

// download fetches the binaries of Postgres, once a machine and release, and
// returns their folder. The library can only start a server as well, with this
// process' user: a server that came up is stopped at once, and root's failure
// at initdb comes after the unpacking, which is all that is wanted here.
func download(ctx context.Context, logger *slog.Logger) (string, error) {
	cache, err := os.UserCacheDir()
	if os.Geteuid() == 0 || err != nil {
		cache = "/var/cache" // open to the user that the server will run as
	}
	cache = filepath.Join(cache, "patchlane")
	home := filepath.Join(cache, "postgres-"+string(embedded.V17))
	if bin := filepath.Join(home, "bin"); holdsPostgres(bin) {
		return bin, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // G301: holds public binaries that others run
		return "", fmt.Errorf("download postgres: %w", err)
	}
	logger.InfoContext(ctx, "downloading postgres", "version", string(embedded.V17), "into", cache)
	unpacked, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	defer func() { _ = os.RemoveAll(unpacked) }()
	if err := os.Chmod(unpacked, 0o755); err != nil { //nolint:gosec // G302: as above
		return "", fmt.Errorf("download postgres: %w", err)
	}
	if err := unpack(ctx, cache, unpacked); err != nil {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	// Renamed as a whole, so that nobody sees half of it; who comes second
	// takes what the first put there.
	if err := os.Rename(filepath.Join(unpacked, "pg"), home); err != nil && !holdsPostgres(filepath.Join(home, "bin")) {
		return "", fmt.Errorf("download postgres: %w", err)
	}
	return filepath.Join(home, "bin"), nil
}

// unpack puts the binaries into dir/pg.
func unpack(ctx context.Context, cache, dir string) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	pg := filepath.Join(dir, "pg")
	db := embedded.NewDatabase(embedded.DefaultConfig().Version(embedded.V17).Port(uint32(port)). //nolint:gosec // G115: a port
													CachePath(cache).BinariesPath(pg).RuntimePath(filepath.Join(dir, "run")).
													DataPath(filepath.Join(dir, "data")).Logger(io.Discard))
	err = db.Start()
	if err == nil {
		return db.Stop()
	}
	if holdsPostgres(filepath.Join(pg, "bin")) {
		return nil
	}
	return errors.Join(err, errNoPostgres)
}
