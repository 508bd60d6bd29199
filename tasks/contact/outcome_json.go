package contact

import (
	"encoding/json"
	"fmt"
)

// AppendChanges appends the ledger's JSON of changes: an array of
// {"field", "op", "old", "new"}, in which the op set, the usual one, is left
// out. It is what encoding/json writes too, only faster.
func AppendChanges(dst []byte, changes []Change) []byte {
	dst = append(dst, '[')
	for i := range changes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = changes[i].append(dst)
	}
	return append(dst, ']')
}

func (c *Change) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"field":`...), c.Field)
	if c.Op != OpSet && c.Op != "" {
		dst = appendString(append(dst, `,"op":`...), string(c.Op))
	}
	dst = appendJSON(append(dst, `,"old":`...), c.Old)
	dst = appendJSON(append(dst, `,"new":`...), c.New)
	return append(dst, '}')
}

// appendJSON appends a JSON value; nothing is null.
func appendJSON(dst []byte, v json.RawMessage) []byte {
	if len(v) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, v...)
}

// MarshalJSON leaves the op out when it is set.
func (c Change) MarshalJSON() ([]byte, error) {
	return c.append(make([]byte, 0, 40+len(c.Field)+len(c.Old)+len(c.New))), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Change) UnmarshalJSON(b []byte) error {
	type plainChange Change
	p := plainChange{Op: OpSet}
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("read change: %w", err)
	}
	if p.Op == "" {
		p.Op = OpSet
	}
	*c = Change(p)
	return nil
}
