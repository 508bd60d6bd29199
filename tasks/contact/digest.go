package contact

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// digestVersion keeps digests of two forms apart.
const digestVersion = 1

// Digest is the "same body" of the idempotency rule: equal for two requests
// whose canonical patch, If-Match and as_of are equal, whatever the order of
// members or the spelling of JSON. The patch came out of Validate.
func (p *Patch) Digest(ifMatch []int64, asOf time.Time) [32]byte {
	w := Write{Kind: KindPatch, Patch: *p, IfMatch: ifMatch, AsOf: asOf}
	return w.Digest()
}

// Digest is Patch.Digest for a write of any kind: two kinds never have the same
// body. That of a patch is the same as its Patch.Digest.
func (w *Write) Digest() [32]byte {
	b := append(make([]byte, 0, 64+w.Patch.sizeHint()), digestVersion, byte(w.Kind))
	b = binary.AppendUvarint(b, bits(!w.AsOf.IsZero(), w.IfMatch != nil))
	if !w.AsOf.IsZero() {
		b = appendTime(b, w.AsOf)
	}
	if w.IfMatch != nil {
		b = appendVersions(b, w.IfMatch)
	}
	return sha256.Sum256(w.Patch.append(b))
}
