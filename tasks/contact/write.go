package contact

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Kind is what a write does.
type Kind uint8

// The kinds. Their numbers are part of the wire form.
const (
	KindPatch Kind = iota + 1
	KindCreate
	KindArchive
	KindRestore
	// KindConsent is what an Event does to a contact.
	KindConsent
	// KindErase takes a contact away with every value that is known of it.
	KindErase
)

// String returns the name in the ledger.
func (k Kind) String() string {
	switch k {
	case KindPatch:
		return "patch"
	case KindCreate:
		return "create"
	case KindArchive:
		return "archive"
	case KindRestore:
		return "restore"
	case KindConsent:
		return "consent"
	case KindErase:
		return "erase"
	default:
		return "unknown"
	}
}

// Source is the way a write came in. Its value is the name in the ledger.
type Source string

// The sources of writes.
const (
	SourcePatch Source = "patch"
	SourceBatch Source = "batch"
	SourceBulk  Source = "bulk"
	SourceAdmin Source = "admin"
)

// IdempotencyKey is a client's key and body as hashes: the key itself never
// leaves the API.
type IdempotencyKey struct {
	// Key is sha-256 of the client's key.
	Key [32]byte
	// Body is sha-256 of the canonical patch, If-Match and as_of. The same key
	// with another Body is refused.
	Body [32]byte
}

// Write is one accepted change on its way through a lane.
type Write struct {
	ID      uuid.UUID
	Account uuid.UUID
	Contact uuid.UUID
	Kind    Kind
	Patch   Patch
	// AcceptedAt is stamped by the append script from the clock of Redis. It is
	// not part of the encoded entry.
	AcceptedAt time.Time
	// AsOf says how old the client's data is; zero when it did not say.
	AsOf time.Time
	// IfMatch lists the versions that the contact must have one of; nil: any.
	// An empty list that is not nil matches nothing.
	IfMatch []int64
	// Idempotency is nil when the client sent no key.
	Idempotency *IdempotencyKey
	// RetryOf is the failed write that this one repeats; uuid.Nil: none.
	RetryOf uuid.UUID
	// RetryAcceptedAt is when the failed write was accepted: its consent keeps
	// that time, and unless Force is set only fields unchanged since are sent.
	RetryAcceptedAt time.Time
	// Force repeats every field of a failed write, changed since or not.
	Force bool
	// Source is the way in; Actor is the id of the key that wrote.
	Source Source
	Actor  string
	// ReplyTo names the API process that waits for the outcome; empty: nobody.
	ReplyTo string
	// TraceParent is the W3C trace context of the request; empty: none.
	TraceParent string
}

// Ref returns the contact that the write is for.
func (w *Write) Ref() Ref { return Ref{Account: w.Account, ID: w.Contact} }

// ConsentTime is the moment at which the write's consent members speak: the
// client's as_of, never later than acceptance; a retried write keeps the
// acceptance of the failed one.
func (w *Write) ConsentTime() time.Time {
	t := w.AcceptedAt
	if !w.RetryAcceptedAt.IsZero() {
		t = w.RetryAcceptedAt
	}
	if !w.AsOf.IsZero() && w.AsOf.Before(t) {
		return w.AsOf
	}
	return t
}

// Offset is the position of an entry in its lane: a Redis stream id. The zero
// Offset is before every entry.
type Offset struct{ Ms, Seq uint64 }

// String returns the stream id, such as "1700000000000-3".
func (o Offset) String() string {
	return strconv.FormatUint(o.Ms, 10) + "-" + strconv.FormatUint(o.Seq, 10)
}

// Compare returns -1, 0 or 1.
func (o Offset) Compare(p Offset) int {
	switch {
	case o == p:
		return 0
	case o.Ms < p.Ms || (o.Ms == p.Ms && o.Seq < p.Seq):
		return -1
	default:
		return 1
	}
}

// ParseOffset reads a stream id.
func ParseOffset(s string) (Offset, error) {
	ms, seq, found := strings.Cut(s, "-")
	if !found {
		return Offset{}, fmt.Errorf("parse offset %q: no dash", s)
	}
	var o Offset
	var err error
	if o.Ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return Offset{}, fmt.Errorf("parse offset %q: %w", s, err)
	}
	if o.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return Offset{}, fmt.Errorf("parse offset %q: %w", s, err)
	}
	return o, nil
}

// Entry is a write at its place in a lane. An entry that cannot be read keeps
// its place too: Write is then the zero value, Poison says why, and applying
// it records a failure.
type Entry struct {
	Offset
	Write
	// Event is what stands in an address lane; nil in a contact lane. Write then
	// holds what the two have in common.
	Event *Event
	// Raw is the entry as it stands in the stream (codec form). It is what a
	// retry needs, and it is kept for failed writes.
	Raw []byte
	// Poison is why the entry cannot be read; nil: it can.
	Poison error
	// Aside says that the entry was put aside while its account was paused. The
	// offset of its lane may be beyond its own.
	Aside bool
}

// Lane is one of the ordered queues. Contact lanes hold writes, address lanes
// hold provider events.
type Lane struct {
	// Kind is 'c' for contact lanes, 'a' for address lanes.
	Kind byte
	// N counts from 0.
	N int
}

// String returns the name of the lane, such as "c017".
func (l Lane) String() string { return fmt.Sprintf("%c%03d", l.Kind, l.N) }

// ParseLane reads what String wrote.
func ParseLane(s string) (Lane, error) {
	if len(s) < 2 || (s[0] != 'c' && s[0] != 'a') {
		return Lane{}, fmt.Errorf("parse lane %q: not a lane name", s)
	}
	n, err := strconv.ParseUint(s[1:], 10, 11)
	if err != nil {
		return Lane{}, fmt.Errorf("parse lane %q: %w", s, err)
	}
	return Lane{Kind: s[0], N: int(n)}, nil
}

// MaxLanes is the largest number of lanes of one kind: a write id carries its
// lane in 12 bits, of which the highest tells the kind.
const MaxLanes = 1 << 11

// LaneCounts are the numbers of lanes, fixed when a database is first migrated.
type LaneCounts struct {
	Contact int
	Address int
}

// LaneOf returns the contact lane of a contact among n.
func LaneOf(id uuid.UUID, n int) Lane {
	return Lane{Kind: 'c', N: int(xxhash.Sum64(id[:]) % uint64(n))} //nolint:gosec // n counts lanes: 1 to MaxLanes
}

// NewWriteID mints a UUIDv7 at the given time whose 12 rand_a bits (RFC 9562,
// 5.7) hold the lane, so that a queued write can be found from its id alone.
func NewWriteID(now time.Time, l Lane) (uuid.UUID, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return uuid.Nil, fmt.Errorf("mint write id: %w", err)
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())<<16)
	copy(id[:6], ms[:6])
	bits := uint16(l.N) //nolint:gosec // N is below MaxLanes
	if l.Kind == 'a' {
		bits |= 1 << 11
	}
	binary.BigEndian.PutUint16(id[6:8], 0x7000|bits)
	return id, nil
}

// LaneOfWrite reads the lane out of a write id; false when the id is none of
// ours (not a UUIDv7).
func LaneOfWrite(id uuid.UUID) (Lane, bool) {
	if id.Version() != 7 {
		return Lane{}, false
	}
	bits := binary.BigEndian.Uint16(id[6:8]) & 0x0fff
	l := Lane{Kind: 'c', N: int(bits &^ (1 << 11))}
	if bits&(1<<11) != 0 {
		l.Kind = 'a'
	}
	return l, true
}

// TimeOfWrite reads the API's clock at the minting of a UUIDv7 write id.
func TimeOfWrite(id uuid.UUID) time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC() //nolint:gosec // 48 bits
}
