package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchlane/tasks/contact"
)

// SQLSTATE values that are told apart by themselves.
const (
	stateUniqueViolation = "23505"
	stateLimitExceeded   = "54000"
	stateLockTimeout     = "55P03"
	stateCanceled        = "57014"
	stateSerialization   = "40001"
	stateDeadlock        = "40P01"
	stateMissingTable    = "42P01"
	stateForeignKey      = "23503"
)

// errUnknownCommit says that COMMIT was sent and its answer never came: the
// batch is in the database, or it is not.
var errUnknownCommit = errors.New("commit has an unknown fate")

// sqlState returns the SQLSTATE of an error of the server, else "".
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// dataError sorts an error of a statement that carries the values of a batch.
// Classes 22, 23 and 54000 come from a value: the same batch would be refused
// again, so it is a *contact.DataError. Everything else is outside the batch
// and is returned wrapped.
func dataError(op string, err error) error {
	state := sqlState(err)
	isData := strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23") ||
		state == stateLimitExceeded
	if !isData || isTwin(err) {
		return fmt.Errorf("%s: %w", op, err)
	}
	e := &contact.Error{
		Code:    contact.CodeDataError,
		Message: "the store refused a value of this write",
		Err:     fmt.Errorf("%s: %s", op, withoutValues(err)),
	}
	if field, ok := duplicateField(err); ok {
		e.Code = contact.CodeDuplicate
		e.Message = "another active contact of the account has the same " + field
	}
	return &contact.DataError{Code: e.Code, Err: e}
}

// withoutValues tells what Postgres refused without its own words: they quote
// the value, and values of contacts are not for logs.
func withoutValues(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "refused"
	}
	return strings.TrimSpace("SQLSTATE " + pg.Code + " " + pg.TableName + " " + pg.ConstraintName)
}

// duplicateField tells which value of a contact is taken. The table is what is
// matched; the name of the index only picks the words.
func duplicateField(err error) (string, bool) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != stateUniqueViolation || pg.TableName != "contacts" {
		return "", false
	}
	switch pg.ConstraintName {
	case "contacts_email":
		return "email", true
	case "contacts_external_id":
		return "external_id", true
	default:
		return "id", true
	}
}

// isTwin tells whether the ledger already had a write that the batch wanted to
// insert. The lane's lock excludes it, unless another lane holds the same id;
// a redo reads the ledger again and drops the write.
func isTwin(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == stateUniqueViolation &&
		(strings.HasPrefix(pg.TableName, "writes") || pg.TableName == "failed_writes")
}

// isRedoable tells whether the same transaction may succeed at once.
func isRedoable(err error) bool {
	state := sqlState(err)
	return state == stateSerialization || state == stateDeadlock || isTwin(err)
}

// commitError sorts the error of a COMMIT. Only an ERROR of the server, or its
// answer ROLLBACK, says that nothing was committed; a cut connection, a
// deadline and a FATAL say nothing at all.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	known := errors.Is(err, pgx.ErrTxCommitRollback) ||
		(errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR")
	if known {
		return fmt.Errorf("commit: %w", err)
	}
	return fmt.Errorf("commit: %w: %w", errUnknownCommit, err)
}

// readError makes what a caller of a read sees: not_found for no row,
// store_unavailable for everything else, with the cause inside.
func readError(op string, err error) error {
	var known *contact.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case noRows(err):
		return notFound()
	case isMissingSchema(err):
		return missingSchema(err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	default:
		return &contact.Error{
			Code:       contact.CodeStoreUnavailable,
			Message:    "the database cannot be asked now",
			Fix:        "Send the request again in a moment.",
			RetryAfter: time.Second,
			Err:        fmt.Errorf("%s: %w", op, err),
		}
	}
}

// notFound is the answer for what is not there or not the account's.
func notFound() error {
	return &contact.Error{Code: contact.CodeNotFound, Message: "there is nothing with this id"}
}

// isMissingSchema tells whether the database was never migrated.
func isMissingSchema(err error) bool { return sqlState(err) == stateMissingTable }

// missingSchema says what to do about a database without tables.
func missingSchema(err error) error {
	return &contact.Error{
		Code:       contact.CodeStoreUnavailable,
		Message:    "the database has no schema yet: run patchlane migrate",
		Fix:        "Run patchlane migrate.",
		RetryAfter: time.Second,
		Err:        err,
	}
}
