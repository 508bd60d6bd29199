package contact

import (
	"encoding/hex"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Channel is a way in which a contact is reached and can opt out of.
type Channel uint8

// The channels. Their numbers are part of the wire form of an event.
const (
	EmailChannel Channel = iota + 1
	SMSChannel
)

// Channels lists every channel.
func Channels() []Channel { return []Channel{EmailChannel, SMSChannel} }

// String returns the name in the API, such as "email".
func (c Channel) String() string {
	switch c {
	case EmailChannel:
		return "email"
	case SMSChannel:
		return "sms"
	default:
		return "unknown"
	}
}

// ParseChannel reads what String wrote.
func ParseChannel(s string) (Channel, bool) {
	for _, c := range Channels() {
		if c.String() == s {
			return c, true
		}
	}
	return 0, false
}

// flag is the member of a contact that says whether the channel is opted out.
func (c Channel) flag() string { return c.String() + "_unsubscribed" }

// Address is what an opt-out is about: one address of one account. Key is the
// form in which addresses are compared, EmailKey or PhoneKey.
type Address struct {
	Account uuid.UUID
	Channel Channel
	Key     string
}

// Address returns the contact's address of a channel; false when it has none
// that anybody could opt out.
func (c *Contact) Address(ch Channel) (Address, bool) {
	key := c.key(ch)
	return Address{Account: c.Account, Channel: ch, Key: key}, key != ""
}

// key returns the compared form of the contact's address, "" for none.
func (c *Contact) key(ch Channel) string {
	switch v := c.Text[ch.field()]; {
	case v == nil:
		return ""
	case ch == EmailChannel:
		return EmailKey(*v)
	default:
		return PhoneKey(*v)
	}
}

// field is the member of a contact that holds the channel's address.
func (c Channel) field() Field {
	if c == EmailChannel {
		return Email
	}
	return Phone
}

// Consent returns the clock of a channel.
func (c *Contact) Consent(ch Channel) *Consent {
	if ch == EmailChannel {
		return &c.EmailConsent
	}
	return &c.SMSConsent
}

// AddressLaneOf returns the address lane of an address among n.
func AddressLaneOf(a Address, n int) Lane {
	b := make([]byte, 0, 17+len(a.Key))
	b = append(b, a.Account[:]...)
	b = append(b, byte(a.Channel))
	b = append(b, a.Key...)
	return Lane{Kind: 'a', N: int(xxhash.Sum64(b) % uint64(n))} //nolint:gosec // n counts lanes: 1 to MaxLanes
}

// EventKey is what two reports of one event have in common.
type EventKey [16]byte

// String returns 32 hex digits.
func (k EventKey) String() string { return hex.EncodeToString(k[:]) }

// ParseEventKey reads what String wrote.
func ParseEventKey(s string) (EventKey, bool) {
	var k EventKey
	n, err := hex.Decode(k[:], []byte(s[:min(len(s), 2*len(k))]))
	return k, err == nil && n == len(k) && len(s) == 2*len(k)
}
