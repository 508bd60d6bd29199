package contact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// The versions of the wire form of an entry.
const (
	// EntryPlain is what Encode and EncodeEvent write.
	EntryPlain = 1
	// EntrySealed is the same with a checksum behind it (CRC-32C, four bytes, of
	// all that stands before), so that damaged bytes are poison and never another
	// write.
	EntrySealed = 2
	// EntryNewest is the newest version that this release reads.
	EntryNewest = EntrySealed
)

const sealLength = 4

var errSeal = errors.New("the checksum is wrong")

// Form returns an entry that Encode or EncodeEvent wrote in the form of a
// version. Every release reads the versions of the one before it, and writes a
// new one only once `migrate --finish` has said that no older process is left.
func Form(entry []byte, version int) []byte {
	if version < EntrySealed || len(entry) == 0 {
		return entry
	}
	sealed := make([]byte, 0, len(entry)+sealLength)
	sealed = append(sealed, entry...)
	sealed[0] = entry[0]&eventForm | EntrySealed
	return binary.BigEndian.AppendUint32(sealed, checksum(sealed))
}

// unform returns an entry as Encode or EncodeEvent wrote it. What is not of a
// known version is returned as it is: its decoder refuses it.
func unform(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0]&^eventForm != EntrySealed {
		return b, nil
	}
	if len(b) <= sealLength {
		return nil, errShort
	}
	body, sum := b[:len(b)-sealLength], b[len(b)-sealLength:]
	if binary.BigEndian.Uint32(sum) != checksum(body) {
		return nil, errSeal
	}
	plain := slices.Clone(body)
	plain[0] = body[0]&eventForm | EntryPlain
	return plain, nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// CheckEntryVersion refuses a database whose entries this release cannot read.
func CheckEntryVersion(stored int) error {
	if stored > EntryNewest {
		return fmt.Errorf("entries of this database are written in version %d, this release reads up to %d: start a newer one",
			stored, EntryNewest)
	}
	return nil
}
