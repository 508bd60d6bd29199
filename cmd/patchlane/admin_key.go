package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/api/dialect"
	"patchlane/tasks/contact"
)

// keyCmd is `patchlane admin key`.
type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make a key. Its secret is shown once."`
	Revoke keyRevokeCmd `cmd:"" help:"End a key everywhere within 10 seconds."`
	List   keyListCmd   `cmd:"" help:"List keys, without their secrets."`
}

// keyCreateCmd is `patchlane admin key create`.
type keyCreateCmd struct {
	adminBase
	Account   uuid.UUID     `name:"account" required:"" placeholder:"ID" help:"Account of the key."`
	Dialect   string        `name:"dialect" default:"native" placeholder:"native" help:"Dialect that the key speaks."`
	Scope     []string      `name:"scope" required:"" placeholder:"S" help:"Permission; repeat for more: contacts:read, contacts:write, contacts:delete, crm_audit:read, settings:write, writes:admin."`
	PerMinute int           `name:"per-minute" placeholder:"N" help:"Requests a minute (0: no limit)."`
	PerDay    int           `name:"per-day" placeholder:"N" help:"Requests a day (0: no limit)."`
	Expires   time.Duration `name:"expires" placeholder:"720h" help:"Life of the key (0: it does not end)."`
}

// key checks what was asked for and makes the record and the secret. It
// reports every problem at once.
func (c *keyCreateCmd) key(now time.Time) (contact.Key, string, error) {
	var problems []error
	spoken, known := dialect.ByName(c.Dialect)
	if !known {
		problems = append(problems, fmt.Errorf("--dialect: %q is not spoken by this release, only %s", c.Dialect, strings.Join(dialects(), ", ")))
	}
	k := contact.Key{ID: uuid.Must(uuid.NewV7()), Account: c.Account, Dialect: c.Dialect, PerMinute: c.PerMinute, PerDay: c.PerDay, CreatedAt: now}
	for _, s := range c.Scope {
		scope := contact.Scope(s)
		if !slices.Contains(contact.Scopes(), scope) {
			problems = append(problems, fmt.Errorf("--scope: %q is none of %v", s, contact.Scopes()))
			continue
		}
		if !slices.Contains(k.Scopes, scope) {
			k.Scopes = append(k.Scopes, scope)
		}
	}
	if c.PerMinute < 0 || c.PerDay < 0 {
		problems = append(problems, errors.New("--per-minute, --per-day: a limit is not below 0"))
	}
	if c.Expires < 0 {
		problems = append(problems, fmt.Errorf("--expires: %s is below 0", c.Expires))
	}
	if err := errors.Join(problems...); err != nil {
		return contact.Key{}, "", &configError{err}
	}
	if c.Expires > 0 {
		end := now.Add(c.Expires)
		k.ExpiresAt = &end
	}
	secret := newSecret(spoken.Traits().Credentials)
	k.Hash = sha256.Sum256([]byte(secret))
	k.Prefix = secret[:displayed]
	return k, secret, nil
}

const (
	// secretBytes is the length of the random part of a credential.
	secretBytes = 32
	// displayed is how much of a credential is kept to recognise it by.
	displayed = 8
)

// newSecret makes a credential that starts as its dialect's do.
func newSecret(prefixes []string) string {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // It never fails: the runtime ends the process first.
	secret := base64.RawURLEncoding.EncodeToString(random)
	if len(prefixes) > 0 {
		return prefixes[0] + secret
	}
	return secret
}

// dialects lists the names of the dialects of this release.
func dialects() []string {
	all := dialect.All()
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Traits().Name
	}
	return names
}

// createdKey is what `admin key create` prints: the record and, this once, the
// credential.
type createdKey struct {
	keyView
	Key string `json:"key"`
}

// Run makes a key and prints it with its secret.
func (c *keyCreateCmd) Run(ctx context.Context, s streams) error {
	k, secret, err := c.key(time.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		if err := d.createKey(ctx, k); err != nil {
			return err
		}
		t := pairs("id", k.ID.String(), "key", secret)
		t.note = "The key is shown this once. Send it as: Authorization: Bearer <key>"
		return d.say(createdKey{viewKey(k), secret}, t)
	})
}

// createKey writes the record to Postgres and copies it to Redis. Without the
// copy the key works all the same: a miss there asks Postgres.
func (d *desk) createKey(ctx context.Context, k contact.Key) error {
	if err := d.db.CreateKey(ctx, k); err != nil {
		return about("account", k.Account, err)
	}
	if err := d.copies.PutKey(ctx, k); err != nil {
		d.logger.WarnContext(ctx, "key is not mirrored to redis yet; its first use will do it", "err", err)
	}
	return nil
}

// keyRevokeCmd is `patchlane admin key revoke`.
type keyRevokeCmd struct {
	adminBase
	ID uuid.UUID `name:"id" required:"" placeholder:"ID" help:"Id of the key."`
}

// Run revokes a key and prints its record.
func (c *keyRevokeCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		k, err := d.revokeKey(ctx, c.ID, time.Now().UTC())
		if err != nil {
			return about("key", c.ID, err)
		}
		return d.say(viewKey(k), keyTable(k))
	})
}

// revokeKey writes Redis first, where every API looks, then Postgres. If Redis
// does not answer the APIs learn it from Postgres within seconds.
func (d *desk) revokeKey(ctx context.Context, id uuid.UUID, at time.Time) (contact.Key, error) {
	k, err := d.db.KeyByID(ctx, id)
	if err != nil {
		return contact.Key{}, err
	}
	if k.RevokedAt == nil {
		k.RevokedAt = &at
	}
	if err := d.copies.PutKey(ctx, k); err != nil {
		d.logger.WarnContext(ctx, "revocation did not reach redis; the apis read it from postgres", "err", err)
	}
	return d.db.RevokeKey(ctx, id, *k.RevokedAt)
}

// keyListCmd is `patchlane admin key list`.
type keyListCmd struct {
	adminBase
	Account uuid.UUID `name:"account" placeholder:"ID" help:"Keys of this account alone."`
}

// Run lists keys.
func (c *keyListCmd) Run(ctx context.Context, s streams) error {
	return c.open(ctx, s, func(ctx context.Context, d *desk) error {
		keys, err := d.db.KeysChangedSince(ctx, time.Time{})
		if err != nil {
			return err
		}
		keys = slices.DeleteFunc(keys, func(k contact.Key) bool { return c.Account != uuid.Nil && k.Account != c.Account })
		slices.SortFunc(keys, func(a, b contact.Key) int { return a.CreatedAt.Compare(b.CreatedAt) })
		views := make([]keyView, 0, len(keys))
		for _, k := range keys {
			views = append(views, viewKey(k))
		}
		return d.say(map[string][]keyView{"keys": views}, keyTable(keys...))
	})
}

// keyView is a key as operators see it: without the hash of its secret.
type keyView struct {
	ID        uuid.UUID       `json:"id"`
	Account   uuid.UUID       `json:"account"`
	Prefix    string          `json:"prefix"`
	Dialect   string          `json:"dialect"`
	Scopes    []contact.Scope `json:"scopes"`
	PerMinute int             `json:"per_minute"`
	PerDay    int             `json:"per_day"`
	CreatedAt time.Time       `json:"created_at"`
	ExpiresAt *time.Time      `json:"expires_at"`
	RevokedAt *time.Time      `json:"revoked_at"`
}

func viewKey(k contact.Key) keyView {
	return keyView{
		ID: k.ID, Account: k.Account, Prefix: k.Prefix, Dialect: k.Dialect, Scopes: k.Scopes,
		PerMinute: k.PerMinute, PerDay: k.PerDay, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt,
	}
}

func keyTable(keys ...contact.Key) table {
	t := table{head: []string{"key", "begins", "account", "dialect", "per minute", "per day", "expires", "revoked", "scopes"}}
	for _, k := range keys {
		scopes := make([]string, len(k.Scopes))
		for i, s := range k.Scopes {
			scopes[i] = string(s)
		}
		t.rows = append(t.rows, []string{
			k.ID.String(), k.Prefix + "…", k.Account.String(), k.Dialect, allowance(k.PerMinute), allowance(k.PerDay),
			moment(k.ExpiresAt), moment(k.RevokedAt), strings.Join(scopes, " "),
		})
	}
	return t
}

func allowance(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}
