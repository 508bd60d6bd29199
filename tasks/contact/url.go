package contact

import (
	"net/url"
	"strings"
	"unicode"
)

// isWebURL tells whether s is an absolute http or https URL with a host and
// without anything that could not be seen: no space, no control character.
func isWebURL(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}
