package main

import (
	"context"
	"strconv"
	"time"

	"patchlane/api/token"
	"patchlane/tasks/contact"
)

// signingKeyCmd is `patchlane admin signing-key`.
type signingKeyCmd struct {
	List   signingKeyListCmd   `cmd:"" help:"List the keys, the newest first, without their private halves."`
	Rotate signingKeyRotateCmd `cmd:"" help:"Make a new key; it signs from half a minute on, when every API knows it."`
}

// signingKeyListCmd is `patchlane admin signing-key list`.
type signingKeyListCmd struct{ adminBase }

// Run lists the keys.
func (c *signingKeyListCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		keys, err := d.db.SigningKeys(ctx)
		if err != nil {
			return err
		}
		return d.saySigningKeys(keys)
	})
}

// signingKeyRotateCmd is `patchlane admin signing-key rotate`.
type signingKeyRotateCmd struct {
	adminBase
	Revoke bool `name:"revoke" help:"Drop every other key too: all access tokens that are out end within seconds. For a key that somebody may have read."`
}

// Run makes a key and drops those of which no token is left. It changes nothing
// for APIs that take their keys from files.
func (c *signingKeyRotateCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		keys, err := d.rotateSigningKey(ctx, c.Revoke, time.Now())
		if err != nil {
			return err
		}
		return d.saySigningKeys(keys)
	})
}

func (d *desk) rotateSigningKey(ctx context.Context, revoke bool, now time.Time) ([]contact.SigningKey, error) {
	keys, err := d.db.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	newest := 0
	if len(keys) > 0 {
		newest = keys[0].Generation
	}
	next, err := token.NewSigningKey(newest + 1)
	if err != nil {
		return nil, err
	}
	if err := d.db.AddSigningKey(ctx, next); err != nil {
		return nil, err
	}
	before := token.Spent(keys, now)
	if revoke {
		before = next.Generation
	}
	if err := d.db.DropSigningKeys(ctx, before); err != nil {
		return nil, err
	}
	if keys, err = d.db.SigningKeys(ctx); err != nil {
		return nil, err
	}
	if err := d.copies.PutSigningKeys(ctx, keys); err != nil {
		d.logger.WarnContext(ctx, "signing keys are not mirrored to redis yet; the apis will do it", "err", err)
	}
	return keys, nil
}

// signingKeyView is a key as operators see it.
type signingKeyView struct {
	Generation int       `json:"generation"`
	KID        string    `json:"kid"`
	CreatedAt  time.Time `json:"created_at"`
}

func (d *desk) saySigningKeys(keys []contact.SigningKey) error {
	views := make([]signingKeyView, len(keys))
	t := table{head: []string{"generation", "kid", "created"}}
	for i, k := range keys {
		kid, err := token.SigningKeyID(k)
		if err != nil {
			return err
		}
		views[i] = signingKeyView{k.Generation, kid, k.CreatedAt}
		t.rows = append(t.rows, []string{strconv.Itoa(k.Generation), kid, moment(&k.CreatedAt)})
	}
	return d.say(map[string][]signingKeyView{"keys": views}, t)
}
