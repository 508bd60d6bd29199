package contact

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"
)

// The lengths of an international number, and how much of a text is looked at.
const (
	minPhoneDigits = 7
	maxPhoneDigits = 15
	maxPhoneText   = 64
)

// PhoneKey returns the form in which a contact's phone number is compared with
// those of opt-outs, or "" when no opt-out can name it. A number that the API
// checked is its own key but for the spellings that a country gave up.
func PhoneKey(s string) string {
	if isE164(s) {
		return modern(s)
	}
	keys := PhoneKeys(s)
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}

// PhoneKeys returns the keys of a phone number as a provider or a client spells
// it, the usual one first, or none when it cannot be a number: an alphanumeric
// sender, or a short code. The "+" may be missing, as some providers send it so.
// A number is never refused because it looks invalid: not to store an opt-out
// is the worse error.
//
// Argentine mobiles are dialled with and without a 9 behind the country code;
// both spellings are in use for the same person, so both are keys.
func PhoneKeys(raw string) []string {
	digits, ok := phoneDigits(raw)
	if !ok {
		return nil
	}
	key := modern(settle("+" + digits))
	switch {
	case strings.HasPrefix(key, "+549") && len(key) == len("+5491123456789"):
		return []string{key, "+54" + key[len("+549"):]}
	case strings.HasPrefix(key, "+54") && len(key) == len("+541123456789"):
		return []string{"+549" + key[len("+54"):], key}
	default:
		return []string{key}
	}
}

// settle writes a number as its country does, without a prefix that is dialled
// at home, until nothing changes any more: a key is its own key. What would be
// too short for a number then stays as it was.
func settle(key string) string {
	for range maxPhoneDigits {
		n, err := phonenumbers.Parse(key, "")
		if err != nil || !phonenumbers.IsPossibleNumber(n) {
			return key
		}
		next := phonenumbers.Format(n, phonenumbers.E164)
		if next == key || len(next) <= minPhoneDigits {
			return key
		}
		key = next
	}
	return key
}

// modern drops the 1 that Mexico gave up for mobiles and some carriers still
// send.
func modern(key string) string {
	if strings.HasPrefix(key, "+521") && len(key) == len("+5215512345678") {
		return "+52" + key[len("+521"):]
	}
	return key
}

// phoneDigits returns the digits of an international number.
func phoneDigits(raw string) (string, bool) {
	s := strings.TrimSpace(norm.NFKC.String(raw[:min(len(raw), maxPhoneText)]))
	s = strings.TrimPrefix(s, "tel:")
	s, plus := strings.CutPrefix(s, "+")
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == ' ' || r == '-' || r == '.' || r == '(' || r == ')' || r == '/':
		default:
			return "", false
		}
	}
	digits := b.String()
	if !plus {
		digits = strings.TrimPrefix(digits, "00")
	}
	return digits, len(digits) >= minPhoneDigits && len(digits) <= maxPhoneDigits
}
