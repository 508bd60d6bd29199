// Command patchlane is an asynchronous write front for CRM contacts: an API
// that accepts changes durably, and workers that apply each of them to Postgres
// exactly once, in order.
//
//	main.go      signals, the command tree, exit codes
//	config.go    every flag with its environment name, unit and default
//	wire.go      how a process is built, under a diagram; run.go: how it ends
//	dev.go       everything on one machine; demo.go: a tour that checks itself
//	migrate.go   the schema; admin.go: accounts, keys, lanes, failed writes
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
	"golang.org/x/term"
)

// The exit codes. They are part of the contract with scripts.
const (
	exitOK     = 0
	exitFailed = 1
	// exitUsage: the command line or the configuration cannot work as it is.
	exitUsage = 2
	// exitKilled: a second signal cut the graceful stop short.
	exitKilled = 130
)

const description = `An asynchronous write front for CRM contacts: accepts PATCHes durably, applies each exactly once and in order.

To try it: "patchlane demo", or "patchlane dev" for a stack of your own.

To run it: "patchlane migrate", then "patchlane api" and "patchlane worker", as many of each as needed; accounts and keys are made by "patchlane admin". Every flag can be given by the environment variable named beside it.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 a second signal cut the stop short.`

// cli is the command tree.
type cli struct {
	Version kong.VersionFlag `name:"version" short:"v" help:"Print the version and exit."`

	Dev     devCmd     `cmd:"" help:"Run everything on this machine: Postgres, Redis, API and worker."`
	Demo    demoCmd    `cmd:"" help:"Show and check the whole promise on a stack of its own, within a minute."`
	API     apiCmd     `cmd:"" name:"api" help:"Serve the HTTP API: accept writes into the lanes."`
	Worker  workerCmd  `cmd:"" help:"Drain the lanes into Postgres."`
	Migrate migrateCmd `cmd:"" help:"Bring the schema of the database up to date."`
	Admin   adminCmd   `cmd:"" help:"Accounts, keys, lanes and failed writes."`
	Doctor  doctorCmd  `cmd:"" help:"Check the configuration and both servers, and say what to do."`
	Bench   benchCmd   `cmd:"" help:"Load an API and verify that nothing was lost, doubled or disordered."`

	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`

	Simulate simulateCmd `cmd:"" help:"Post a provider's signed webhook to a running stack, for drills and demonstrations."`
}

// streams are the standard streams of the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
	// people says that out is a terminal.
	people bool
	// terminal says that err is a terminal, where logs are text by default.
	terminal bool
}

func main() {
	redis.SetLogger(silent{})
	ctx, stop := untilSignal(context.Background())
	s := streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		people:   term.IsTerminal(int(os.Stdout.Fd())),
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	code := run(ctx, os.Args[1:], s)
	stop()
	os.Exit(code)
}

// silent drops what go-redis prints on its own: hundreds of unstructured lines
// during an outage. Each of its errors reaches a caller too, who logs it.
type silent struct{}

// Printf drops a line.
func (silent) Printf(context.Context, string, ...any) {}

// untilSignal ends the context at the first SIGINT or SIGTERM, which starts a
// graceful stop, and the process at the second.
func untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitKilled)
	}()
	return ctx, cancel
}

// run executes one command line and returns the exit code. What went wrong is
// one line on standard error.
func run(ctx context.Context, args []string, s streams) int {
	parser, err := kong.New(&cli{},
		kong.Name("patchlane"),
		kong.Description(description),
		kong.UsageOnError(),
		kong.Writers(s.out, s.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups(flagGroups()),
		kong.Vars{"version": version()},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
	)
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "patchlane: %v\n", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "patchlane: %v\nRun \"patchlane --help\" for what there is.\n", err)
		return exitUsage
	}
	return exitCode(s.err, command.Run())
}

// exitCode reports an error and chooses the exit code.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(w, "patchlane: %v\n", err)
	if _, wrong := errors.AsType[*configError](err); wrong {
		return exitUsage
	}
	return exitFailed
}

// flagGroups are the headings of --help.
func flagGroups() []kong.Group {
	return []kong.Group{
		{Key: "backends", Title: "Servers:"},
		{Key: "lanes", Title: "Lanes:"},
		{Key: "api", Title: "API:"},
		{Key: "worker", Title: "Worker:"},
		{Key: "process", Title: "Process:"},
	}
}

// version names the release, or the commit that the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "patchlane (unknown build)"
	}
	v, at := info.Main.Version, ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			at = " " + s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				at += "+changes"
			}
		}
	}
	return "patchlane " + v + at + " " + info.GoVersion
}
