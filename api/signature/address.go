package signature

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"patchlane/tasks/contact"
)

// An address is never refused because it looks invalid: not to store an
// opt-out is the worse error. Only what cannot be an address at all has no key.
const maxEmail = 512

// PhoneKeys returns the keys of a phone number, or none when it cannot be one;
// see contact.PhoneKeys.
func PhoneKeys(raw string) []string { return contact.PhoneKeys(raw) }

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
