package contact

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// The problems of a phone number; each may be shown to a client.
var (
	errPhoneForm   = errors.New("must be in E.164 form: a plus sign and up to 15 digits, nothing else")
	errPhoneNumber = errors.New("must be a number that exists in its country's numbering plan")
	errPhoneLax    = errors.New("must be 3 to 15 digits with spaces, dots, hyphens or brackets, after an optional plus sign")
	errPhoneMobile = errors.New("must be a number that can be a mobile; send a fixed line as landline")
)

// NormalizePhone checks that s is a valid phone number in E.164 form and
// returns it.
func NormalizePhone(s string) (e164 string, err error) {
	if _, err := parsePhone(s); err != nil {
		return "", err
	}
	return s, nil
}

// normalizeMobile is NormalizePhone for numbers that can be a mobile.
func normalizeMobile(s string) (string, error) {
	n, err := parsePhone(s)
	if err != nil {
		return "", err
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
		return s, nil
	default:
		return "", errPhoneMobile
	}
}

const (
	// A phone number that is no E.164 has 3 to 15 digits and this many bytes.
	leastDigits, mostDigits, maxLaxBytes = 3, 15, 40
)

// normalizeLax takes a number in the spelling of people. One that says its
// country and is valid there is stored in E.164, whatever its type; any other
// as it was sent.
func normalizeLax(s string) (string, error) {
	rest, plus := strings.CutPrefix(s, "+")
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" .-()[]", r) {
			return -1
		}
		return r
	}, rest)
	if len(s) > maxLaxBytes || len(digits) < leastDigits || len(digits) > mostDigits ||
		strings.Trim(digits, "0123456789") != "" {
		return "", errPhoneLax
	}
	if e164, err := NormalizePhone("+" + digits); plus && err == nil {
		return e164, nil
	}
	return s, nil
}

// parsePhone reads a number whose E.164 form is s itself: one that carries a
// trunk prefix or an old spelling is refused rather than silently rewritten.
func parsePhone(s string) (*phonenumbers.PhoneNumber, error) {
	if !isE164(s) {
		return nil, errPhoneForm
	}
	n, err := phonenumbers.Parse(s, "")
	if err != nil || !phonenumbers.IsValidNumber(n) || phonenumbers.Format(n, phonenumbers.E164) != s {
		return nil, errPhoneNumber
	}
	return n, nil
}

func isE164(s string) bool {
	if len(s) < 3 || len(s) > 16 || s[0] != '+' || s[1] == '0' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
