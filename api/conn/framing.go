package conn

import (
	"bytes"
	"errors"
	"math"
	"strings"
)

// phase is the part of a request that the next byte belongs to.
type phase uint8

const (
	requestLine phase = iota
	headerLine
	sizedBody
	chunkLine
	chunkData
	chunkEnd
	trailerLine
)

// reason is why a request was refused; a label value.
type reason string

const (
	lengthAndCoding reason = "length_and_coding"
	twoLengths      reason = "two_lengths"
	oldCoding       reason = "coding_in_http_1_0"
	bareLF          reason = "bare_lf"
	bareCR          reason = "bare_cr"
	folded          reason = "folded_line"
	badLength       reason = "bad_length"
	badChunk        reason = "bad_chunk"
	otherCoding     reason = "other_coding"
	otherVersion    reason = "other_version"
)

// reasons lists all of them.
func reasons() []reason {
	return []reason{
		lengthAndCoding, twoLengths, oldCoding, bareLF, bareCR, folded, badLength, badChunk, otherCoding, otherVersion,
	}
}

// refusal is what a framing does not let by.
type refusal struct{ reason reason }

// Error names the reason.
func (r *refusal) Error() string { return "request framing: " + string(r.reason) }

// errLong is a line that cannot be one of the few that are looked at.
var errLong = errors.New("line is too long")

// lineRoom is how much of a line is kept: enough for the names and values that
// decide on the length of a body.
const lineRoom = 64

// framing follows the requests of one connection. Its zero value is at the
// beginning of the first one.
type framing struct {
	phase phase
	// line is the beginning of the present line, without its end; length is
	// that of the whole, and tail its last bytes.
	line   [lineRoom]byte
	length int
	tail   [8]byte
	cr     bool

	// What the header says of the body.
	old     bool
	unknown bool
	strange bool
	lengths int
	codings int
	size    int64

	// left is what is missing of a body or a chunk, at its end of the CRLF.
	left int64
}

// inHead tells whether a refusal now is one of a request that has no handler
// yet.
func (f *framing) inHead() bool { return f.phase == requestLine || f.phase == headerLine }

// atLineStart tells whether no byte of the present line was let by, but for a CR.
func (f *framing) atLineStart() bool { return f.length == 0 }

// scan follows the bytes of a read. It returns how many of them may be passed
// on, and the refusal of the byte after those.
func (f *framing) scan(p []byte) (int, error) {
	for i := 0; i < len(p); {
		switch f.phase {
		case sizedBody, chunkData:
			n := int(min(f.left, int64(len(p)-i)))
			i += n
			if f.left -= int64(n); f.left > 0 {
				continue
			}
			if f.phase == sizedBody {
				f.next()
			} else {
				f.phase, f.left = chunkEnd, 2
			}
		case chunkEnd:
			if p[i] != "\r\n"[2-f.left] {
				return i, &refusal{badChunk}
			}
			i++
			if f.left--; f.left == 0 {
				f.phase = chunkLine
			}
		default:
			n, err := f.scanLine(p[i:])
			if err != nil {
				return i + n, err
			}
			i += n
		}
	}
	return len(p), nil
}

// scanLine follows the bytes of a line, up to its end at most.
func (f *framing) scanLine(p []byte) (int, error) {
	if f.cr {
		if p[0] != '\n' {
			return 0, &refusal{bareCR}
		}
		if err := f.endLine(); err != nil {
			return 0, err
		}
		f.cr, f.length = false, 0
		return 1, nil
	}
	if f.length == 0 && f.phase != requestLine && f.phase != chunkLine && (p[0] == ' ' || p[0] == '\t') {
		return 0, &refusal{folded}
	}
	n, ends := bytes.IndexByte(p, '\r'), true
	if n < 0 {
		n, ends = len(p), false
	}
	if lf := bytes.IndexByte(p[:n], '\n'); lf >= 0 {
		f.keep(p[:lf])
		return lf, &refusal{bareLF}
	}
	f.keep(p[:n])
	if ends {
		f.cr = true
		n++
	}
	return n, nil
}

// keep remembers the beginning of a line and its last bytes.
func (f *framing) keep(p []byte) {
	if f.length < lineRoom {
		copy(f.line[f.length:], p)
	}
	f.length += len(p)
	if len(p) >= len(f.tail) {
		copy(f.tail[:], p[len(p)-len(f.tail):])
		return
	}
	copy(f.tail[:], f.tail[len(p):])
	copy(f.tail[len(f.tail)-len(p):], p)
}

// endLine acts on a whole line.
func (f *framing) endLine() error {
	switch f.phase {
	case requestLine:
		f.old = f.length >= len(f.tail) && string(f.tail[:]) == "HTTP/1.0"
		f.unknown = !f.old && string(f.tail[:]) != "HTTP/1.1"
		f.phase = headerLine
	case headerLine:
		if f.length == 0 {
			return f.endHead()
		}
		return f.header()
	case chunkLine:
		return f.chunk()
	default: // trailerLine
		if f.length == 0 {
			f.next()
		}
	}
	return nil
}

// header looks for the two lines that say how long the body is.
func (f *framing) header() error {
	name, rest, _ := bytes.Cut(f.line[:min(f.length, lineRoom)], []byte(":"))
	name, value := bytes.TrimRight(name, " \t"), string(bytes.Trim(rest, " \t"))
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		size, err := parseLength(value)
		if err != nil || f.length > lineRoom {
			return &refusal{badLength}
		}
		f.lengths++
		f.size = size
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		f.codings++
		if f.length > lineRoom || !strings.EqualFold(value, "chunked") {
			f.strange = true
		}
	}
	return nil
}

// endHead decides where the body ends.
func (f *framing) endHead() error {
	switch {
	case f.unknown:
		return &refusal{otherVersion}
	case f.codings > 0 && f.lengths > 0:
		return &refusal{lengthAndCoding}
	case f.lengths > 1:
		return &refusal{twoLengths}
	case f.codings > 0 && f.old:
		return &refusal{oldCoding}
	case f.strange || f.codings > 1:
		return &refusal{otherCoding}
	case f.codings == 1:
		f.phase = chunkLine
	case f.size > 0:
		f.phase, f.left = sizedBody, f.size
	default:
		f.next()
	}
	return nil
}

// chunk reads the line before a chunk: its size, and extensions that nobody
// looks at.
func (f *framing) chunk() error {
	line := f.line[:min(f.length, lineRoom)]
	end := bytes.IndexAny(line, "; \t")
	if end < 0 {
		end = len(line)
	}
	var size int64
	if end == 0 || end > 15 {
		return &refusal{badChunk}
	}
	for _, c := range line[:end] {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 || (c < '0') {
			return &refusal{badChunk}
		}
		size = size<<4 | int64(digit)
	}
	if size == 0 {
		f.phase = trailerLine
		return nil
	}
	f.phase, f.left = chunkData, size
	return nil
}

// next begins the next request.
func (f *framing) next() { *f = framing{} }

// parseLength reads a Content-Length: digits alone.
func parseLength(s string) (int64, error) {
	if s == "" || len(s) > 18 {
		return 0, errLong
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || n > math.MaxInt64/10 {
			return 0, errLong
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}
