package contact

import (
	"errors"
	"net/mail"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The problems of an e-mail address; each may be shown to a client.
var (
	errEmailForm   = errors.New("must be one e-mail address without a display name")
	errEmailLength = errors.New("must have at most 254 bytes")
	errEmailDomain = errors.New("must have a valid domain")
)

// NormalizeEmail checks that s is one bare e-mail address and returns it as it
// is stored: the domain in lower case, everything else as it was sent. An
// internationalised domain stays in the script in which it was sent; only
// EmailKey brings it to its ASCII form.
func NormalizeEmail(s string) (stored string, err error) {
	if len(s) > maxEmailBytes {
		return "", errEmailLength
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s {
		return "", errEmailForm
	}
	at := strings.LastIndexByte(s, '@')
	domain := s[at+1:]
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || !validHost(ascii) {
		return "", errEmailDomain
	}
	if stored = s[:at+1] + strings.ToLower(domain); len(stored) > maxEmailBytes {
		return "", errEmailLength
	}
	return stored, nil
}

// validHost checks the lengths that the DNS allows.
func validHost(host string) bool {
	if len(host) == 0 || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
	}
	return true
}

// EmailKey returns the form in which two e-mail addresses are compared: all in
// lower case, the domain in ASCII. It takes any string: what is no address is
// compared as it stands, in lower case.
func EmailKey(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 || isASCII(s) {
		return strings.ToLower(s)
	}
	local, domain := s[:at], strings.ToLower(s[at+1:])
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		domain = ascii
	}
	return norm.NFC.String(strings.ToLower(local)) + "@" + domain
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
