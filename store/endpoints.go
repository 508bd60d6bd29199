package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"patchlane/tasks/contact"
)

const (
	cursorEndpoints = 'e'

	endpointColumns = `e.id, e.account_id, e.provider, e.secrets, e.basic_auth, e.topic_arn, e.settings,
		e.created_at, e.deleted_at`
)

// CreateEndpoint stores a webhook endpoint. The account must exist.
func (s *Store) CreateEndpoint(ctx context.Context, e contact.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err := s.read.Exec(ctx, `INSERT INTO webhook_endpoints
			(id, account_id, provider, secrets, basic_auth, topic_arn, settings, created_at)
		VALUES ($1, $2, $3, $4::text[], $5::text[], $6, $7::jsonb, $8)`,
		e.ID, e.Account, e.Provider, notNil(e.Secrets), notNil(e.BasicAuth), e.TopicARN,
		textOrNull(string(e.Settings)), e.CreatedAt)
	if sqlState(err) == stateForeignKey {
		return &contact.Error{Code: contact.CodeNotFound, Message: "there is no such account", Err: err}
	}
	return readError("create endpoint", err)
}

// notNil makes a list that is not NULL.
func notNil(list []string) []string { return append([]string{}, list...) }

// Endpoint returns a webhook endpoint by its id alone, deleted ones too: whoever
// posts to it has no account yet.
func (s *Store) Endpoint(ctx context.Context, id uuid.UUID) (contact.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return s.oneEndpoint(ctx, "read endpoint",
		`SELECT `+endpointColumns+` FROM webhook_endpoints e WHERE e.id = $1`, id)
}

func (s *Store) oneEndpoint(ctx context.Context, op, sql string, args ...any) (contact.Endpoint, error) {
	rows, err := s.read.Query(ctx, sql, args...)
	if err != nil {
		return contact.Endpoint{}, readError(op, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	return e, readError(op, err)
}

// Endpoints returns the endpoints of an account that are not deleted, in the
// order of their ids, and the cursor of the next page if there is one.
func (s *Store) Endpoints(
	ctx context.Context, account uuid.UUID, limit int, after string,
) (list []contact.Endpoint, next string, err error) {
	var from uuid.UUID
	if after != "" {
		if err := readCursor(after, cursorEndpoints, &from, nil); err != nil {
			return nil, "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+endpointColumns+` FROM webhook_endpoints e
		WHERE e.account_id = $1 AND e.id > $2 AND e.deleted_at IS NULL ORDER BY e.id LIMIT $3`, account, from, limit+1)
	if err != nil {
		return nil, "", readError("list endpoints", err)
	}
	if list, err = pgx.CollectRows(rows, scanEndpoint); err != nil {
		return nil, "", readError("list endpoints", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = writeCursor(cursorEndpoints, list[limit-1].ID, 0)
	}
	return list, next, nil
}

// ChangeEndpoint sets what the change names and returns the endpoint as it is
// then; not_found for one that is deleted or another account's.
func (s *Store) ChangeEndpoint(
	ctx context.Context, account, id uuid.UUID, c contact.EndpointChange,
) (contact.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return s.oneEndpoint(ctx, "change endpoint", `UPDATE webhook_endpoints e SET
			secrets = coalesce($3::text[], e.secrets), basic_auth = coalesce($4::text[], e.basic_auth),
			topic_arn = coalesce($5::text, e.topic_arn), settings = coalesce($6::jsonb, e.settings),
			changed_at = clock_timestamp()
		WHERE e.account_id = $1 AND e.id = $2 AND e.deleted_at IS NULL RETURNING `+endpointColumns,
		account, id, c.Secrets, c.BasicAuth, c.TopicARN, textOrNull(string(c.Settings)))
}

// DeleteEndpoint marks an endpoint as deleted and returns it, to be mirrored;
// not_found for one that is deleted already or another account's.
func (s *Store) DeleteEndpoint(ctx context.Context, account, id uuid.UUID) (contact.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return s.oneEndpoint(ctx, "delete endpoint", `UPDATE webhook_endpoints e SET
			deleted_at = now(), changed_at = clock_timestamp()
		WHERE e.account_id = $1 AND e.id = $2 AND e.deleted_at IS NULL RETURNING `+endpointColumns, account, id)
}

// EndpointsChangedSince lists the endpoints created, changed or deleted at t, by
// the database's clock, or later, the oldest change first. A caller overlaps
// its looks by more than its clock may differ.
func (s *Store) EndpointsChangedSince(ctx context.Context, t time.Time) ([]contact.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.Query(ctx, `SELECT `+endpointColumns+` FROM webhook_endpoints e
		WHERE e.changed_at >= $1 ORDER BY e.changed_at`, t)
	if err != nil {
		return nil, readError("read changed endpoints", err)
	}
	list, err := pgx.CollectRows(rows, scanEndpoint)
	return list, readError("read changed endpoints", err)
}

func scanEndpoint(row pgx.CollectableRow) (contact.Endpoint, error) {
	var e contact.Endpoint
	err := row.Scan(scanID(&e.ID), scanID(&e.Account), &e.Provider, &e.Secrets, &e.BasicAuth, &e.TopicARN, &e.Settings,
		&e.CreatedAt, &e.DeletedAt)
	e.CreatedAt, e.DeletedAt = e.CreatedAt.UTC(), utc(e.DeletedAt)
	return e, err
}
