package dialect

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// Row is one write of a batch, before its patch is decoded.
type Row struct {
	// Named: the row has an id, readable or not, and so creates nothing.
	Named bool
	// ID is the contact; uuid.Nil: the row creates one.
	ID uuid.UUID
	// Patch is the body of the write, in the dialect of the key.
	Patch []byte
	// Key is the idempotency key, IfMatch the versions; nil: absent.
	Key, IfMatch *string
	// Fields are the problems found so far. They cost this row alone.
	Fields []contact.FieldError
}

// ErrTooMany says that a batch has more rows than it may.
func errTooMany(most int) error {
	return &contact.Error{
		Code:    contact.CodePayloadTooLarge,
		Message: "The batch has more than " + strconv.Itoa(most) + " rows.",
		Fix:     "Send at most " + strconv.Itoa(most) + " writes in one batch.",
	}
}

// DecodeBatch reads {"writes": [row, …]}, the same in every dialect but for the
// form of an id. A problem of the envelope is an error; one of a row is in that
// row alone.
func DecodeBatch(d Decoder, body []byte, most int) ([]Row, error) {
	var p problems
	var list jsontext.Value
	err := readEnvelope(body, func(name string, v jsontext.Value) {
		if name != "writes" {
			p.add(name, contact.ProblemUnknown, "There is no such member; a batch has writes alone.")
			return
		}
		list = v.Clone()
	}, &p)
	if err != nil {
		return nil, err
	}
	if list == nil && len(p) == 0 {
		p.add("writes", contact.ProblemRequired, "A batch needs an array of writes.")
	}
	var rows []Row
	if list != nil {
		p.elements("writes", list, func(i int, v jsontext.Value) {
			if i < most {
				rows = append(rows, decodeRow(d, v))
				return
			}
			err = errTooMany(most)
		})
	}
	switch {
	case err != nil:
		return nil, err
	case len(p) > 0:
		return nil, &contact.Error{
			Code: contact.CodeValidationFailed, Message: "The batch is not well-formed.", Fields: p,
		}
	default:
		return rows, nil
	}
}

// decodeRow reads one row strictly.
func decodeRow(d Decoder, v jsontext.Value) Row {
	var row Row
	var p problems
	if v.Kind() != jsontext.KindBeginObject {
		p.wrongType("row", "an object", v)
		row.Fields = p
		return row
	}
	err := readEnvelope(v, func(name string, v jsontext.Value) { row.member(d, name, v, &p) }, &p)
	if err != nil {
		p.add("row", contact.ProblemInvalidFormat, "The row cannot be read.")
	}
	if row.Patch == nil && len(p) == 0 {
		p.add("patch", contact.ProblemRequired, "The row needs a patch, which may be {}.")
	}
	row.Fields = p
	return row
}

func (r *Row) member(d Decoder, name string, v jsontext.Value, p *problems) {
	switch name {
	case "id":
		r.Named = true
		s, ok := p.text(name, "a string", v)
		if !ok {
			return
		}
		at, err := d.Locate(s)
		if err != nil || at.ID == uuid.Nil {
			p.add(name, contact.ProblemInvalidFormat, "The id must be that of a contact; leave it out to create one.")
		}
		r.ID = at.ID
	case "patch":
		if v.Kind() != jsontext.KindBeginObject {
			p.wrongType(name, "an object", v)
			return
		}
		r.Patch = v.Clone()
	case "idempotency_key":
		if s, ok := p.text(name, "a string", v); ok {
			r.Key = &s
		}
	case "if_match":
		if s, ok := p.text(name, "a string", v); ok {
			r.IfMatch = &s
		}
	default:
		p.add(name, contact.ProblemUnknown, "There is no such member of a row; the contact's members stand in patch.")
	}
}

// DecodeForce reads the body of a retry: absent, {} or {"force": bool}.
func DecodeForce(body []byte) (force bool, fields []contact.FieldError, err error) {
	var p problems
	err = readObject(body, &p, func(name string, v jsontext.Value) {
		if name != "force" {
			p.add(name, contact.ProblemUnknown, "There is no such member; a retry has force alone.")
			return
		}
		force, _ = p.boolean(name, v)
	})
	return force, p, err
}

// DecodeEmpty reads the body of a request that has nothing to say: {}.
func DecodeEmpty(body []byte) ([]contact.FieldError, error) {
	var p problems
	err := readObject(body, &p, func(name string, _ jsontext.Value) {
		p.add(name, contact.ProblemUnknown, "This request has no members.")
	})
	return p, err
}

// BatchResult is what came of one row.
type BatchResult struct {
	Status   int
	WriteID  uuid.UUID
	Contact  uuid.UUID
	Replayed bool
	// Problem is why the row was refused; nil: it was accepted.
	Problem *Problem
}

// EncodeBatch writes the answer to a batch, the same in every dialect.
func EncodeBatch(results []BatchResult) ([]byte, error) {
	type row struct {
		Index     int            `json:"index"`
		Status    int            `json:"status"`
		WriteID   *uuid.UUID     `json:"write_id,omitempty"`
		ContactID *uuid.UUID     `json:"contact_id,omitempty"`
		Replayed  bool           `json:"replayed,omitzero"`
		Error     *nativeProblem `json:"error,omitempty"`
	}
	type data struct {
		Accepted int   `json:"accepted"`
		Rejected int   `json:"rejected"`
		Results  []row `json:"results"`
	}
	d := data{Results: make([]row, len(results))}
	for i, r := range results {
		d.Results[i] = row{
			Index: i, Status: r.Status, Replayed: r.Replayed,
			WriteID: optionalID(r.WriteID), ContactID: optionalID(r.Contact),
		}
		if r.Problem == nil {
			d.Accepted++
			continue
		}
		d.Rejected++
		d.Results[i].Error = newNativeProblem(r.Problem)
	}
	return marshal(envelope[data]{d})
}
