package contact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// The ways in which an entry can be unreadable.
var (
	errShort    = errors.New("it ends too early")
	errTrailing = errors.New("bytes follow its end")
	errForm     = errors.New("a value is not in its one form")
	errText     = errors.New("a text holds U+0000 or is not valid UTF-8")
)

// Decode reads what Encode wrote. It takes nothing on trust: whatever it
// returns without an error is encoded to the same bytes again (by Encode and Form) and holds only
// texts and JSON that the store can keep. The JSON of the write shares b's
// memory.
func Decode(b []byte) (Write, error) {
	b, err := unform(b)
	if err != nil {
		return Write{}, fmt.Errorf("decode write: %w", err)
	}
	if len(b) == 0 {
		return Write{}, fmt.Errorf("decode write: %w", errShort)
	}
	if b[0] != codecVersion {
		return Write{}, fmt.Errorf("decode write: version %d is not known", b[0])
	}
	if len(b) < headLength {
		return Write{}, fmt.Errorf("decode write: %w", errShort)
	}
	w := Write{ID: uuid.UUID(b[1:17]), Account: uuid.UUID(b[17:33]), Contact: uuid.UUID(b[33:49]), Kind: Kind(b[49])}
	r := reader{rest: b[headLength:]}
	if w.Kind < KindPatch || (w.Kind > KindRestore && w.Kind != KindErase) {
		return Write{}, fmt.Errorf("decode write: kind %d is not known", b[49])
	}
	r.origin(&w)
	r.texts(&w.Patch)
	r.members(&w.Patch)
	if r.err == nil && len(r.rest) > 0 {
		r.err = errTrailing
	}
	if r.err != nil {
		return Write{}, fmt.Errorf("decode write: %w", r.err)
	}
	return w, nil
}

// reader takes values off the head of an entry. After the first error it
// returns zero values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.rest = err, nil
	}
}

// origin reads what appendOrigin wrote.
func (r *reader) origin(w *Write) {
	has := r.flags(hasEnd)
	w.Force = has&hasForce != 0
	if has&hasAsOf != 0 {
		w.AsOf = r.time()
	}
	if has&hasIfMatch != 0 {
		w.IfMatch = r.versions()
	}
	if has&hasIdempotency != 0 {
		key := &IdempotencyKey{}
		copy(key.Key[:], r.bytes(uint64(len(key.Key))))
		copy(key.Body[:], r.bytes(uint64(len(key.Body))))
		w.Idempotency = key
	}
	if has&hasRetryOf != 0 {
		copy(w.RetryOf[:], r.bytes(uint64(len(w.RetryOf))))
	}
	if has&hasRetryAcceptedAt != 0 {
		w.RetryAcceptedAt = r.time()
	}
	w.Source, w.Actor, w.ReplyTo, w.TraceParent = Source(r.text()), r.text(), r.text(), r.text()
	if r.err == nil && w.has() != has {
		r.fail(errForm) // a zero time or a nil id is written as absent
	}
}

// texts reads the text fields.
func (r *reader) texts(p *Patch) {
	set, null := r.flags(1<<NumFields), r.flags(1<<NumFields)
	if null&^set != 0 {
		r.fail(errForm)
	}
	for f := range NumFields {
		switch bit := uint64(1) << f; {
		case null&bit != 0:
			p.SetText(f, nil)
		case set&bit != 0:
			s := r.text()
			p.SetText(f, &s)
		}
	}
}

// members reads what a patch has besides, in the order of its bits.
func (r *reader) members(p *Patch) {
	has := r.flags(patchEnd)
	for i, text := range []**string{&p.FullName, &p.NotesAppend} {
		if has&(patchFullName<<i) != 0 {
			*text = new(r.text())
		}
	}
	for i, list := range []*[]string{&p.Tags, &p.TagsAdd, &p.TagsRemove} {
		if has&(patchTags<<i) != 0 {
			*list = r.list()
		}
	}
	if has&patchCustomFields != 0 {
		p.CustomFields = r.fields()
	}
	for i, raw := range []*json.RawMessage{&p.Metadata, &p.MetadataMerge} {
		if has&(patchMetadata<<i) != 0 {
			*raw = r.object()
		}
	}
	for i, optOut := range []**bool{&p.EmailUnsubscribed, &p.SMSUnsubscribed} {
		if has&(patchEmailConsent<<(2*i)) != 0 {
			*optOut = new(has&(patchEmailOut<<(2*i)) != 0)
		}
	}
	if r.err == nil && p.has() != has {
		r.fail(errForm) // a value without its presence
	}
}

// uvarint reads a number in its shortest form.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail(errShort)
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail(errForm)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// varint reads a signed number.
func (r *reader) varint() int64 {
	u := r.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// flags reads bits, all of them below end.
func (r *reader) flags(end uint64) uint64 {
	v := r.uvarint()
	if v >= end {
		r.fail(errForm)
		return 0
	}
	return v
}

// time reads a moment.
func (r *reader) time() time.Time {
	return time.UnixMicro(r.varint()).UTC()
}

// bytes takes n bytes; nil after an error.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// text reads a string that a text column can hold.
func (r *reader) text() string {
	s := string(r.bytes(r.uvarint()))
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		r.fail(errText)
		return ""
	}
	return s
}

// count reads the length of a list whose elements take at least one byte, so
// that a forged length cannot make anybody allocate more than was sent.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return 0
	}
	return int(n) //nolint:gosec // it is at most the length of a slice
}

func (r *reader) list() []string {
	list := make([]string, r.count())
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r *reader) versions() []int64 {
	list := make([]int64, r.count())
	for i := range list {
		list[i] = r.varint()
	}
	return list
}

// fields reads custom fields, which are ordered by name.
func (r *reader) fields() map[string]json.RawMessage {
	n := r.count()
	fields := make(map[string]json.RawMessage, n)
	last := ""
	for i := range n {
		name := r.text()
		if i > 0 && name <= last {
			r.fail(errForm)
		}
		fields[name], last = r.json(), name
	}
	return fields
}

// json reads a JSON value that the store can keep.
func (r *reader) json() json.RawMessage {
	raw := r.bytes(r.uvarint())
	if r.err != nil {
		return nil
	}
	if _, err := canonical(raw); err != nil {
		r.fail(fmt.Errorf("a JSON value %w", err))
		return nil
	}
	return raw
}

// object reads a JSON object.
func (r *reader) object() json.RawMessage {
	raw := r.json()
	if r.err == nil && bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		r.fail(errNotObject)
	}
	return raw
}
