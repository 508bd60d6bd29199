package dialect

import (
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object that is written member by member, in order, each name
// once.
type object struct {
	text []byte
	seen map[string]bool
	err  error
}

// add writes a member; one that is there already stays as it is.
func (o *object) add(name string, v jsontext.Value) {
	if o.seen[name] {
		return
	}
	if o.seen == nil {
		o.seen = make(map[string]bool)
	}
	o.seen[name] = true
	if len(o.text) > 0 {
		o.text = append(o.text, ',')
	}
	quoted, err := jsontext.AppendQuote(o.text, name)
	if err != nil {
		o.err = err
		return
	}
	o.text = append(append(quoted, ':'), v...)
}

// set writes a member of a Go value.
func (o *object) set(name string, v any) {
	text, err := jsonv2.Marshal(v)
	if err != nil {
		o.err = err
		return
	}
	o.add(name, text)
}

// value is the whole object.
func (o *object) value() jsontext.Value {
	out := make([]byte, 0, len(o.text)+2)
	out = append(out, '{')
	out = append(out, o.text...)
	return append(out, '}')
}
