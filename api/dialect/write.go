package dialect

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// WriteView is one write to be shown. Writes look the same in every dialect,
// since no vendor documents them.
type WriteView struct {
	*contact.Record
	// Problem is why the write failed; nil: it did not.
	Problem *Problem
}

type writeObject struct {
	WriteID    uuid.UUID      `json:"write_id"`
	ContactID  uuid.UUID      `json:"contact_id"`
	Kind       string         `json:"kind"`
	State      contact.State  `json:"state"`
	AcceptedAt string         `json:"accepted_at"`
	AppliedAt  *string        `json:"applied_at"`
	Version    *int64         `json:"version"`
	Changes    []nativeChange `json:"changes"`
	Skipped    []contact.Skip `json:"skipped"`
	Error      *nativeProblem `json:"error"`
	RetryOf    *uuid.UUID     `json:"retry_of"`
	RetriedAs  *uuid.UUID     `json:"retried_as"`
}

func newWriteObject(v WriteView) writeObject {
	w := writeObject{
		WriteID: v.WriteID, ContactID: v.ID, Kind: v.Kind.String(), State: v.State,
		AcceptedAt: FormatTime(v.AcceptedAt), AppliedAt: optionalTime(v.AppliedAt),
		Changes: newChanges(v.Changes), Skipped: v.Skipped,
		RetryOf: optionalID(v.RetryOf), RetriedAs: optionalID(v.RetriedAs),
	}
	if v.Version > 0 {
		w.Version = &v.Version
	}
	if v.Problem != nil {
		w.Error = newNativeProblem(v.Problem)
	}
	return w
}

// EncodeWrite writes one write.
func EncodeWrite(v WriteView) ([]byte, error) {
	return marshal(envelope[writeObject]{newWriteObject(v)})
}

// EncodeWrites writes a page of writes.
func EncodeWrites(views []WriteView, limit int, next string) ([]byte, error) {
	rows := make([]writeObject, len(views))
	for i, v := range views {
		rows[i] = newWriteObject(v)
	}
	return marshalList(rows, limit, next)
}

// logRow is one row of the change log.
type logRow struct {
	ID        string         `json:"id"`
	ContactID uuid.UUID      `json:"contact_id"`
	Field     string         `json:"field"`
	Op        contact.Op     `json:"op"`
	Old       jsontext.Value `json:"old_value"`
	New       jsontext.Value `json:"new_value"`
	WriteID   uuid.UUID      `json:"write_id"`
	Version   int64          `json:"version"`
	Actor     *string        `json:"actor"`
	Source    string         `json:"source"`
	// SourceEvent is the provider's event, or the like, behind a change of consent.
	SourceEvent *string `json:"source_event"`
	AcceptedAt  string  `json:"accepted_at"`
	ChangedAt   string  `json:"changed_at"`
}

func logRows(page *contact.LogPage) []logRow {
	rows := make([]logRow, len(page.Rows))
	for i, r := range page.Rows {
		rows[i] = logRow{
			ID: r.ID, ContactID: r.Contact, Field: r.Field, Op: r.Op, Old: raw(r.Old), New: raw(r.New),
			WriteID: r.WriteID, Version: r.Version, Source: r.Source,
			AcceptedAt: FormatTime(r.AcceptedAt), ChangedAt: FormatTime(r.ChangedAt),
		}
		if rows[i].Op == "" {
			rows[i].Op = contact.OpSet
		}
		if r.Actor != "" {
			rows[i].Actor = &r.Actor
		}
		if r.SourceEvent != "" {
			rows[i].SourceEvent = &r.SourceEvent
		}
	}
	return rows
}
