package contact

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// The wire form of a write. Its head has fixed places, which the scripts of the
// lane rely on; what follows is read in order.
//
//	0        version
//	1..16    write id
//	17..32   account
//	33..48   contact
//	49       kind
//	50..     uvarint has, then, each if its bit is set:
//	           as_of, if_match, idempotency key, retry_of, retry accepted at
//	         source, actor, reply_to, traceparent
//	         uvarint text fields present, uvarint of these null, the values
//	         uvarint members present, the values
//
// Integers are minimal varints, strings and lists carry their length, times are
// varint microseconds, custom fields are ordered by name: one write has one
// form. accepted_at is no part of it: the lane stamps it beside the entry.
//
// A release reads a new version and writes it only after `migrate --finish`,
// so a version that is not known here is unreadable in truth; see seal.go.
const codecVersion = EntryPlain

// headLength is the length of what stands at fixed places.
const headLength = 50

// What a write has besides its patch.
const (
	hasAsOf = 1 << iota
	hasIfMatch
	hasIdempotency
	hasRetryOf
	hasRetryAcceptedAt
	hasForce
	hasEnd
)

// What a patch has besides its text fields: the first bit of each group.
const (
	patchFullName     = 1 << 0 // and notes_append
	patchTags         = 1 << 2 // and tags_add, tags_remove
	patchCustomFields = 1 << 5
	patchMetadata     = 1 << 6 // and metadata_merge
	patchEmailConsent = 1 << 8 // and, after its value, sms
	patchEmailOut     = 1 << 9
	patchEnd          = 1 << 12
)

// Encode returns the wire form of a write, whose patch came out of Validate.
func Encode(w *Write) []byte {
	b := make([]byte, 0, headLength+64+w.Patch.sizeHint()+len(w.Actor)+len(w.ReplyTo)+len(w.TraceParent))
	b = append(b, codecVersion)
	b = append(b, w.ID[:]...)
	b = append(b, w.Account[:]...)
	b = append(b, w.Contact[:]...)
	b = append(b, byte(w.Kind))
	b = appendOrigin(b, w)
	return w.Patch.append(b)
}

// appendOrigin appends where a write came from and on what terms.
func appendOrigin(b []byte, w *Write) []byte {
	b = binary.AppendUvarint(b, w.has())
	if !w.AsOf.IsZero() {
		b = appendTime(b, w.AsOf)
	}
	if w.IfMatch != nil {
		b = appendVersions(b, w.IfMatch)
	}
	if w.Idempotency != nil {
		b = append(b, w.Idempotency.Key[:]...)
		b = append(b, w.Idempotency.Body[:]...)
	}
	if w.RetryOf != uuid.Nil {
		b = append(b, w.RetryOf[:]...)
	}
	if !w.RetryAcceptedAt.IsZero() {
		b = appendTime(b, w.RetryAcceptedAt)
	}
	for _, s := range []string{string(w.Source), w.Actor, w.ReplyTo, w.TraceParent} {
		b = appendText(b, s)
	}
	return b
}

// has returns the bits of what a write has.
func (w *Write) has() uint64 {
	return bits(
		!w.AsOf.IsZero(), w.IfMatch != nil, w.Idempotency != nil,
		w.RetryOf != uuid.Nil, !w.RetryAcceptedAt.IsZero(), w.Force,
	)
}

// has returns the bits of what a patch has.
func (p *Patch) has() uint64 {
	email, sms := p.EmailUnsubscribed, p.SMSUnsubscribed
	return bits(
		p.FullName != nil, p.NotesAppend != nil,
		p.Tags != nil, p.TagsAdd != nil, p.TagsRemove != nil,
		p.CustomFields != nil, p.Metadata != nil, p.MetadataMerge != nil,
		email != nil, email != nil && *email, sms != nil, sms != nil && *sms,
	)
}

// bits sets bit n for the n-th flag.
func bits(flags ...bool) uint64 {
	var b uint64
	for n, set := range flags {
		if set {
			b |= 1 << n
		}
	}
	return b
}

// append appends the wire form of a patch. It is also what its digest is made
// from.
func (p *Patch) append(b []byte) []byte {
	var null uint64
	for f := range NumFields {
		if v, present := p.Text(f); present && v == nil {
			null |= 1 << f
		}
	}
	b = binary.AppendUvarint(b, uint64(p.set))
	b = binary.AppendUvarint(b, null)
	for f := range NumFields {
		if v, _ := p.Text(f); v != nil {
			b = appendText(b, *v)
		}
	}
	b = binary.AppendUvarint(b, p.has())
	for _, s := range []*string{p.FullName, p.NotesAppend} {
		if s != nil {
			b = appendText(b, *s)
		}
	}
	for _, list := range [][]string{p.Tags, p.TagsAdd, p.TagsRemove} {
		if list != nil {
			b = appendList(b, list)
		}
	}
	if p.CustomFields != nil {
		b = binary.AppendUvarint(b, uint64(len(p.CustomFields)))
		for _, name := range slices.Sorted(maps.Keys(p.CustomFields)) {
			b = appendText(appendText(b, name), p.CustomFields[name])
		}
	}
	for _, raw := range []json.RawMessage{p.Metadata, p.MetadataMerge} {
		if raw != nil {
			b = appendText(b, raw)
		}
	}
	return b
}

// sizeHint guesses the length of the wire form from above.
func (p *Patch) sizeHint() int {
	n := 16 + len(p.Metadata) + len(p.MetadataMerge)
	for _, v := range p.text {
		if v != nil {
			n += len(*v) + 3
		}
	}
	if p.NotesAppend != nil {
		n += len(*p.NotesAppend) + 3
	}
	return n + 24*(len(p.Tags)+len(p.TagsAdd)+len(p.TagsRemove)+2*len(p.CustomFields))
}

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendList(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func appendVersions(b []byte, versions []int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(versions)))
	for _, v := range versions {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendVarint(b, t.UnixMicro())
}
