package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"patchlane/api"
	"patchlane/api/signature"
	"patchlane/store"
	"patchlane/tasks/contact"
	"patchlane/tasks/mirror"
)

// optoutConfig is for webhooks and unsubscribe links.
type optoutConfig struct {
	SNSCertDir string `name:"sns-cert-dir" env:"PATCHLANE_SNS_CERT_DIR" group:"api" placeholder:"DIR" help:"Folder in which the signing certificates of Amazon SNS are looked for by file name before they are fetched, for machines without internet."`
	LinkKey    string `name:"link-key" env:"PATCHLANE_LINK_KEY" group:"api" placeholder:"SECRET" help:"Secret of at least 32 bytes that unsubscribe links are made with; another one ends the links that were sent. Default: made once and kept in the database."`
}

// checkLinkKey refuses a secret that could be guessed.
func (c *optoutConfig) checkLinkKey() error {
	if c.LinkKey != "" && len(c.LinkKey) < secretBytes {
		return fmt.Errorf("--link-key: shorter than %d bytes", secretBytes)
	}
	return nil
}

// linkSecret is the name of the secret that unsubscribe links are made with.
const linkSecret = "unsubscribe_links"

// eventAppender makes events durable.
type eventAppender interface {
	// AppendEvents answers for each event at its place.
	AppendEvents(ctx context.Context, events []*contact.Event) ([]contact.Receipt, []error)
}

// optouts is what the API needs for webhooks, suppressions and links.
func (c *config) optouts(
	db *store.Store, copies *mirror.Mirror, events eventAppender, sns *http.Client, logger *slog.Logger,
) api.Optouts {
	fetch := signature.HTTPSCertificates(sns)
	if c.SNSCertDir != "" {
		fetch = signature.FirstOf(signature.CertDir(c.SNSCertDir), fetch)
	}
	return api.Optouts{
		Events: events, Suppressions: db, Reviews: db, Endpoints: db, EndpointFeed: db,
		EndpointMirror: copies, Tokens: copies,
		Verifier: signature.NewVerifier(fetch),
		Confirm: func(ctx context.Context, confirmURL string) error {
			return signature.Confirm(ctx, sns, confirmURL)
		},
		LinkKey:   linkKey(c.LinkKey, db, copies, logger),
		PublicURL: strings.TrimSuffix(c.PublicURL, "/"),
		Rate:      c.WebhookRate,
	}
}

// linkKey returns the secret of unsubscribe links: the configured one, or the
// one that the installation made for itself once. That is kept in Postgres and
// mirrored in Redis, so that links work while Postgres is away.
func linkKey(
	configured string, db *store.Store, copies *mirror.Mirror, logger *slog.Logger,
) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		if configured != "" {
			return []byte(configured), nil
		}
		secret, found, mirrorErr := copies.Secret(ctx, linkSecret)
		if mirrorErr == nil && found {
			return secret, nil
		}
		offered := make([]byte, secretBytes)
		_, _ = rand.Read(offered) // It never fails: the runtime ends the process first.
		secret, err := db.Secret(ctx, linkSecret, offered)
		if err != nil {
			return nil, err
		}
		if err := copies.PutSecret(ctx, linkSecret, secret); err != nil {
			logger.WarnContext(ctx, "link key is not mirrored to redis yet", "err", err)
		}
		return secret, nil
	}
}
