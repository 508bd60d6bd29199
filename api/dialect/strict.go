package dialect

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"patchlane/tasks/contact"
)

// maxDepth is how deep the value of a member may be nested.
const maxDepth = 32

// codeDepth is the problem of a value that is nested too deep.
const codeDepth = "too_deep"

// MaxProblems bounds the problems reported for one body, so that a small body
// of nonsense is not answered by a large one.
const MaxProblems = 100

// problems collects the problems of a body in order.
type problems []contact.FieldError

// add records a problem; a name that is itself oversized is cut.
func (p *problems) add(field, code, message string) {
	if len(*p) < MaxProblems {
		*p = append(*p, contact.FieldError{Field: shorten(field), Code: code, Message: message})
	}
}

// shorten cuts a member name that a client sent to a printable length.
func shorten(s string) string {
	const most = 128
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// readObject reads a body that MUST be one JSON object and calls member for
// each member in order. The value is valid until member returns. Names are
// reported once: a repeated one is a problem and is not passed on, and so is
// a value with a repeated name, or nested too deep, anywhere inside.
//
// The error is invalid_json when the body is no JSON text (bad UTF-8 and
// trailing bytes included) and invalid_body when it is another JSON value.
func readObject(body []byte, p *problems, member func(name string, v jsontext.Value)) error {
	return readEnvelope(body, func(name string, v jsontext.Value) {
		if checkNested(name, v, p) {
			member(name, v)
		}
	}, p)
}

// readEnvelope is readObject for an object whose members are read strictly one
// by one later: it does not look into their values.
func readEnvelope(body []byte, member func(name string, v jsontext.Value), p *problems) error {
	if !utf8.Valid(body) {
		return notJSON("The body is not valid UTF-8.", nil)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return notJSON("The body is empty; a JSON object is needed.", nil)
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != jsontext.KindBeginObject {
		return notObject(dec)
	}
	if _, err := dec.ReadToken(); err != nil {
		return syntax(err)
	}
	seen := make(map[string]bool)
	for dec.PeekKind() == jsontext.KindString {
		token, err := dec.ReadToken()
		if err != nil {
			return syntax(err)
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return syntax(err)
		}
		if seen[name] {
			p.add(name, contact.ProblemDuplicate, "The member stands twice in its object.")
			continue
		}
		seen[name] = true
		member(name, value)
	}
	if _, err := dec.ReadToken(); err != nil {
		return syntax(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return notJSON("There are bytes after the JSON object.", nil)
	}
	return nil
}

// notObject tells a JSON value that is no object from what is no JSON.
func notObject(dec *jsontext.Decoder) error {
	if _, err := dec.ReadValue(); err != nil {
		return syntax(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return notJSON("There are bytes after the JSON value.", nil)
	}
	return &contact.Error{
		Code:    contact.CodeInvalidBody,
		Message: "The body must be a JSON object.",
		Fix:     "Send one JSON object, such as {\"first_name\": \"Ada\"}.",
	}
}

// syntax names the place of a syntax error, never the text at it: that may be
// personal data.
func syntax(err error) error {
	detail := "The body is not JSON."
	var at *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		detail = "The body ends before the JSON does."
	case errors.As(err, &at):
		detail = "The body is not JSON: error at byte " + strconv.FormatInt(at.ByteOffset, 10) + "."
	}
	return notJSON(detail, err)
}

func notJSON(detail string, err error) error {
	return &contact.Error{
		Code: contact.CodeInvalidJSON, Message: detail, Err: err,
		Fix: "Send one JSON object, encoded in UTF-8, with nothing after it.",
	}
}

// checkNested walks an object or array and reports a repeated name and too
// deep a nesting. It returns whether the value may be used.
func checkNested(name string, value jsontext.Value, p *problems) bool {
	if k := value.Kind(); k != jsontext.KindBeginObject && k != jsontext.KindBeginArray {
		return true
	}
	dec := jsontext.NewDecoder(bytes.NewReader(value), jsontext.AllowDuplicateNames(true))
	good := true
	var names []map[string]bool // one for each open container; nil for an array
	for {
		kind, length := dec.StackIndex(dec.StackDepth())
		token, err := dec.ReadToken()
		if err != nil {
			return good // the value was read whole before: this is its end
		}
		isName := kind == jsontext.KindBeginObject && length%2 == 0 && token.Kind() == jsontext.KindString
		switch {
		case isName:
			open := names[len(names)-1]
			if n := token.String(); open[n] {
				p.add(name+"."+n, contact.ProblemDuplicate, "The member stands twice in its object.")
				good = false
			} else {
				open[n] = true
			}
		case token.Kind() == jsontext.KindBeginObject:
			names = append(names, make(map[string]bool))
		case token.Kind() == jsontext.KindBeginArray:
			names = append(names, nil)
		case token.Kind() == jsontext.KindEndObject, token.Kind() == jsontext.KindEndArray:
			names = names[:len(names)-1]
		}
		if len(names) > maxDepth {
			p.add(name, codeDepth, "The value is nested deeper than "+strconv.Itoa(maxDepth)+" levels.")
			return false
		}
	}
}

// The kinds of JSON values in words.
func kindName(v jsontext.Value) string {
	switch v.Kind() {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindFalse, jsontext.KindTrue:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	default:
		return "something else"
	}
}

// wrongType reports that a member has a value of another type.
func (p *problems) wrongType(field, want string, v jsontext.Value) {
	p.add(field, contact.ProblemInvalidType, "The value must be "+want+", not "+kindName(v)+".")
}

// text reads a string.
func (p *problems) text(field, want string, v jsontext.Value) (string, bool) {
	if v.Kind() != jsontext.KindString {
		p.wrongType(field, want, v)
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		p.add(field, contact.ProblemInvalidFormat, "The string is not valid Unicode.")
		return "", false
	}
	return string(b), true
}

// textOrNull reads a string or null; nil is null.
func (p *problems) textOrNull(field string, v jsontext.Value) (*string, bool) {
	if v.Kind() == jsontext.KindNull {
		return nil, true
	}
	s, ok := p.text(field, "a string or null", v)
	return &s, ok
}

// boolean reads true or false.
func (p *problems) boolean(field string, v jsontext.Value) (value, ok bool) {
	k := v.Kind()
	if k != jsontext.KindTrue && k != jsontext.KindFalse {
		p.wrongType(field, "a boolean", v)
		return false, false
	}
	return k == jsontext.KindTrue, true
}

// object reads an object as raw JSON, copied.
func (p *problems) object(field string, v jsontext.Value) (jsontext.Value, bool) {
	if v.Kind() != jsontext.KindBeginObject {
		p.wrongType(field, "an object", v)
		return nil, false
	}
	return v.Clone(), true
}

// elements calls each for every element of an array.
func (p *problems) elements(field string, v jsontext.Value, each func(i int, v jsontext.Value)) bool {
	if v.Kind() != jsontext.KindBeginArray {
		p.wrongType(field, "an array", v)
		return false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for i := 0; dec.PeekKind() != jsontext.KindEndArray; i++ {
		element, err := dec.ReadValue()
		if err != nil {
			return false
		}
		each(i, element)
	}
	return true
}

// members calls each for every member of an object that was checked before.
func members(v jsontext.Value, each func(name string, v jsontext.Value)) {
	dec := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			return
		}
		text := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		each(text, value)
	}
}
