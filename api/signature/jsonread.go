package signature

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxElements bounds the elements of one batch. The largest that a provider
// documents is 1,000.
const maxElements = 20_000

// errTwice says that a JSON object has a member twice.
var errTwice = errors.New("member occurs twice")

// strictly reads a JSON value. Unknown members are ignored, as providers add
// them; a member that occurs twice, bad UTF-8 and trailing bytes are errors,
// as two readers could understand them differently.
func strictly(v []byte, into any) error { return json.Unmarshal(v, into) }

// scalar is a string, number or boolean as text; anything else reads as "".
// Providers change the type of their fields (SparkPost sends numbers as
// strings), and no such change may cost an opt-out.
type scalar string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *scalar) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*s = text(v)
	return nil
}

// text returns a JSON scalar as text.
func text(v jsontext.Value) scalar {
	switch v.Kind() {
	case jsontext.KindString:
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return ""
		}
		return scalar(b)
	case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		return scalar(bytes.TrimSpace(v))
	default:
		return ""
	}
}

// many is a list that may also come as its only element, or as null.
type many[T any] []T

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *many[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*m = nil
	switch dec.PeekKind() {
	case jsontext.KindNull:
		_, err := dec.ReadToken()
		return err
	case jsontext.KindBeginArray:
		return json.UnmarshalDecode(dec, (*[]T)(m))
	default:
		var one T
		if err := json.UnmarshalDecode(dec, &one); err != nil {
			return err
		}
		*m = many[T]{one}
		return nil
	}
}

// members returns the members of a JSON object, whose names MUST differ. What
// lies inside of them is not judged.
func members(body []byte) (map[string]jsontext.Value, error) {
	dec := lenient(body)
	if dec.PeekKind() != jsontext.KindBeginObject {
		return nil, errors.New("no object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	out := make(map[string]jsontext.Value)
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		v, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, errTwice
		}
		out[key] = v.Clone()
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes behind the object")
	}
	return out, nil
}

// elements calls each for the elements of a JSON array, or for the body itself
// when it is one object. Elements are split without judging their inside, so
// that a bad one costs no other; rest gets what cannot be split.
func elements(body []byte, each func(jsontext.Value), rest func([]byte)) {
	dec := lenient(body)
	if dec.PeekKind() != jsontext.KindBeginArray {
		each(body)
		return
	}
	if _, err := dec.ReadToken(); err != nil {
		rest(body)
		return
	}
	for n := 0; dec.PeekKind() != jsontext.KindEndArray; n++ {
		from := dec.InputOffset()
		v, err := dec.ReadValue()
		if err != nil || n >= maxElements {
			rest(body[from:])
			return
		}
		each(v.Clone())
	}
	from := dec.InputOffset()
	if _, err := dec.ReadToken(); err != nil {
		rest(body[from:])
		return
	}
	from = dec.InputOffset()
	if len(bytes.TrimSpace(body[from:])) > 0 {
		rest(body[from:])
	}
}

// lenient returns a decoder that checks the grammar and nothing else.
func lenient(body []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewReader(body),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
