package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// scripts are the programs of the ways that are written for Node.js.
//
//go:embed node/package.json node/*.mjs
var scripts embed.FS

// errSkipped says that a way cannot be tried on this machine, and why.
var errSkipped = errors.New("skipped")

// nodeScripts is a folder with the scripts and what they need, made when the
// first of them is run.
type nodeScripts struct {
	dir  string
	once sync.Once
	err  error
}

// install fetches the packages.
func (s *nodeScripts) install(ctx context.Context) error {
	s.once.Do(func() { s.err = s.doInstall(ctx) })
	return s.err
}

func (s *nodeScripts) doInstall(ctx context.Context) error {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: there is no %s on this machine", errSkipped, tool)
		}
	}
	entries, err := scripts.ReadDir("node")
	if err != nil {
		return fmt.Errorf("list scripts: %w", err)
	}
	for _, entry := range entries {
		text, err := scripts.ReadFile("node/" + entry.Name())
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, entry.Name()), text, 0o600); err != nil {
			return fmt.Errorf("write script: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: npm install: %w: %s", errSkipped, err, bytes.TrimSpace(out))
	}
	return nil
}

// way runs one of the scripts, which prints how long it took.
func (s *nodeScripts) way(script string) runner {
	return func(ctx context.Context, e environment, w workload) error {
		if err := s.install(ctx); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "node", script) //nolint:gosec // a name of ours
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "NODE_ENV=production",
			"DATABASE_URL="+e.database, "REDIS_URL="+e.redis,
			"WRITES="+strconv.Itoa(w.Writes), "CONTACTS="+strconv.Itoa(w.Contacts))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("run %s: %w: %s", script, err, bytes.TrimSpace(stderr.Bytes()))
		}
		var report struct {
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal(out, &report); err != nil {
			return fmt.Errorf("read what %s printed: %w", script, err)
		}
		e.took(time.Duration(report.Seconds * float64(time.Second)))
		return nil
	}
}
