package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// The columns of a set-based statement, in the forms that pgx encodes without
// reflection and without a detour over text: with plain slices of uuid.UUID
// half of the process' time in an Apply went into printing and parsing ids.
type (
	idColumn   = pgtype.FlatArray[pgtype.UUID]
	textColumn = pgtype.FlatArray[*string]
)

// idValue is the parameter for an id.
func idValue(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// idOrNull makes the nil id NULL.
func idOrNull(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: id != uuid.Nil} }

// scanID is the target of a column of ids that is never NULL.
func scanID(id *uuid.UUID) *[16]byte { return (*[16]byte)(id) }
