package local

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive holds three scripts named initdb, postgres and pg_ctl, each of which
// fails: as root the library gets no further with the real ones.
//
//go:embed testdata/postgres.txz
var archive []byte

// repository serves a jar like Maven's and counts its downloads.
func repository(t *testing.T) (url string, downloads *int) {
	t.Helper()
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	f, err := z.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	downloads = new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			sum := sha256.Sum256(jar.Bytes())
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
			return
		}
		*downloads++
		_, _ = w.Write(jar.Bytes())
	}))
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections() // the library's client
	})
	return s.URL, downloads
}

func TestDownload(t *testing.T) {
	t.Parallel()
	url, downloads := repository(t)
	cache := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		bin, err := download(t.Context(), url, cache, slog.New(slog.DiscardHandler))
		if err != nil || !holdsPostgres(bin) {
			t.Fatalf("%q, %v", bin, err)
		}
	}
	if *downloads != 1 {
		t.Errorf("%d downloads", *downloads)
	}
	left, err := filepath.Glob(filepath.Join(cache, "unpack-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDownloadUnavailable(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer http.DefaultClient.CloseIdleConnections()
	defer s.Close()
	_, err := download(t.Context(), s.URL, t.TempDir(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "deploy/deps.sh") {
		t.Errorf("%v", err)
	}
	if dir := cacheDir(); filepath.Base(dir) != "patchlane" || !filepath.IsAbs(dir) {
		t.Errorf("cache in %q for user %d", dir, os.Geteuid())
	}
}
