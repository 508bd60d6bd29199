package main

import (
	"context"

	"patchlane/cmd/patchlane/bench"
)

// benchCmd is `patchlane bench`.
type benchCmd struct{ bench.Command }

// Help is the long text of --help.
func (*benchCmd) Help() string {
	return `Makes contacts of its own, writes to them as any client would, and waits for every outcome. With --verify it reads all of it
back: exit 0 only if no acknowledged write was lost, doubled or out of order.`
}

// Run loads the API and prints the figures.
func (c *benchCmd) Run(ctx context.Context, s streams) error {
	return c.Command.Run(ctx, s.out, s.err)
}
