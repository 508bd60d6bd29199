package signature

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"

	"patchlane/tasks/contact"
)

// An address is never refused because it looks invalid: not to store an
// opt-out is the worse error. Only what cannot be an address at all has no key.
const (
	minDigits = 7
	maxDigits = 15
	maxEmail  = 512
)

// PhoneKeys returns the keys of a phone number, the usual spelling first, or
// none when it cannot be one: an alphanumeric sender, or a short code. The "+"
// may be missing, as some providers send it so.
//
// Argentine mobiles are dialled with and without a 9 behind the country code;
// both spellings are in use for the same person, so both are keys.
func PhoneKeys(raw string) []string {
	digits, ok := phoneDigits(raw)
	if !ok {
		return nil
	}
	key := "+" + digits
	if n, err := phonenumbers.Parse(key, ""); err == nil && phonenumbers.IsValidNumber(n) {
		// A contact holds valid numbers in this very form; what is not valid
		// stays as it came.
		key = phonenumbers.Format(n, phonenumbers.E164)
	}
	switch {
	case strings.HasPrefix(key, "+521") && len(key) == len("+5215512345678"):
		// Mexico gave up the 1 of mobiles; some carriers still send it.
		return []string{"+52" + key[len("+521"):]}
	case strings.HasPrefix(key, "+549") && len(key) == len("+5491123456789"):
		return []string{key, "+54" + key[len("+549"):]}
	case strings.HasPrefix(key, "+54") && len(key) == len("+541123456789"):
		return []string{"+549" + key[len("+54"):], key}
	default:
		return []string{key}
	}
}

// phoneDigits returns the digits of an international number.
func phoneDigits(raw string) (string, bool) {
	s := strings.TrimSpace(norm.NFKC.String(cut(raw, 64)))
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
	return digits, len(digits) >= minDigits && len(digits) <= maxDigits
}

// otherChannel tells whether a sender is of another channel than text
// messages, such as "whatsapp:+14155552671".
func otherChannel(sender string) bool {
	scheme, _, found := strings.Cut(sender, ":")
	return found && !strings.EqualFold(scheme, "tel") && !strings.EqualFold(scheme, "sms")
}

// EmailKey returns contact.EmailKey of what providers put around an address: a
// display name, angle brackets, the rfc822 prefix and a closing dot are taken
// off. Tags and dots stay, for they are the receiver's to interpret.
func EmailKey(raw string) (string, bool) {
	if len(raw) > maxEmail || !utf8.ValidString(raw) {
		return "", false
	}
	s := strings.TrimSpace(raw)
	if open := strings.LastIndexByte(s, '<'); open >= 0 && strings.HasSuffix(s, ">") {
		s = s[open+1 : len(s)-1]
	}
	if len(s) > 7 && strings.EqualFold(s[:7], "rfc822;") {
		s = s[7:]
	}
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return "", false
	}
	local, domain := s[:at], s[at+1:]
	if !plausibleLocal(local) || strings.ContainsFunc(domain, notInDomain) {
		return "", false
	}
	return contact.EmailKey(s), true
}

// plausibleLocal tells whether a local part can be one: outside of quotes
// there is neither space nor another "@", so that two addresses in one field
// are not taken for one.
func plausibleLocal(local string) bool {
	if strings.ContainsFunc(local, unicode.IsControl) {
		return false
	}
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		return true
	}
	return !strings.ContainsFunc(local, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("@<>,;", r)
	})
}

// notInDomain tells what ends the hope that a text is a domain.
func notInDomain(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("@<>,;\"", r)
}
