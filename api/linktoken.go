package api

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// linkVersion is the first byte of what a link says.
const linkVersion = 1

// maxList is the longest name of a list, in bytes.
const maxList = 100

// minLinkKey is the least length of the secret of links.
const minLinkKey = 32

// errLink is a token that we did not make.
var errLink = errors.New("not an unsubscribe link of ours")

// link is what an unsubscribe link says: everything that is needed to act on
// it, so that acting on it needs Redis alone and works for contacts that are
// archived or gone.
type link struct {
	account, contact uuid.UUID
	channel          contact.Channel
	// list is the sender's name for what the mail was about; it is kept as
	// evidence and limits nothing.
	list    string
	address string
}

// encode writes what a link says: version, account, contact, channel, the list
// with its length, the address.
func (l *link) encode() []byte {
	b := make([]byte, 0, 35+len(l.list)+len(l.address))
	b = append(b, linkVersion)
	b = append(b, l.account[:]...)
	b = append(b, l.contact[:]...)
	b = append(b, byte(l.channel), byte(len(l.list))) //nolint:gosec // at most maxList
	b = append(b, l.list...)
	return append(b, l.address...)
}

// decodeLink reads what encode wrote.
func decodeLink(b []byte) (link, error) {
	const head = 35
	if len(b) < head || b[0] != linkVersion || len(b) <= head+int(b[head-1]) {
		return link{}, errLink
	}
	l := link{account: uuid.UUID(b[1:17]), contact: uuid.UUID(b[17:33]), channel: contact.Channel(b[33])}
	end := head + int(b[head-1])
	l.list, l.address = string(b[head:end]), string(b[end:])
	if l.channel != contact.EmailChannel && l.channel != contact.SMSChannel {
		return link{}, errLink
	}
	return l, nil
}

// sealer makes and reads tokens. A token is the HMAC of what the link says and,
// enciphered with that HMAC as its initialisation vector, what it says: the
// construction of RFC 5297. Nobody else can make one, nobody can read an address
// out of a log of URLs, and one link always has one URL.
type sealer struct {
	mac   []byte
	block cipher.Block
}

func newSealer(secret []byte) (*sealer, error) {
	if len(secret) < minLinkKey {
		return nil, fmt.Errorf("read link key: %d bytes are less than %d", len(secret), minLinkKey)
	}
	keys, err := hkdf.Key(sha256.New, secret, nil, "patchlane unsubscribe link", 64)
	if err != nil {
		return nil, fmt.Errorf("derive link keys: %w", err)
	}
	block, err := aes.NewCipher(keys[32:])
	if err != nil {
		return nil, fmt.Errorf("derive link keys: %w", err)
	}
	return &sealer{mac: keys[:32], block: block}, nil
}

// tag is the first half of the HMAC, as long as a block.
func (s *sealer) tag(text []byte) []byte {
	h := hmac.New(sha256.New, s.mac)
	h.Write(text)
	return h.Sum(nil)[:aes.BlockSize]
}

// seal makes the token of a link.
func (s *sealer) seal(l *link) string {
	text := l.encode()
	token := s.tag(text)
	hidden := make([]byte, len(text))
	cipher.NewCTR(s.block, token).XORKeyStream(hidden, text)
	return base64.RawURLEncoding.EncodeToString(append(token, hidden...))
}

// open reads a token of ours.
func (s *sealer) open(token string) (link, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= aes.BlockSize {
		return link{}, errLink
	}
	tag, text := b[:aes.BlockSize], make([]byte, len(b)-aes.BlockSize)
	cipher.NewCTR(s.block, tag).XORKeyStream(text, b[aes.BlockSize:])
	if !hmac.Equal(tag, s.tag(text)) {
		return link{}, errLink
	}
	return decodeLink(text)
}

// linkKeys asks for the secret of links until it has it.
type linkKeys struct {
	source func(ctx context.Context) ([]byte, error)

	mu   sync.Mutex
	keys *sealer
}

// get returns the sealer of this installation.
func (k *linkKeys) get(ctx context.Context) (*sealer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys != nil {
		return k.keys, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	secret, err := k.source(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	if k.keys, err = newSealer(secret); err != nil {
		return nil, err
	}
	return k.keys, nil
}
