package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"
)

const (
	cookieName = "patchlane_ops"
	// sessionTime is how long a session lasts: a shift.
	sessionTime = 12 * time.Hour
	// loginBurst and loginEvery bound the guesses of a token, of everybody together.
	loginBurst = 10
	loginEvery = 6 * time.Second
	nameBytes  = 60
)

// sessions makes and reads the cookies of operators. They are signed with a key
// made of the token, so that every replica takes them and a new token ends them.
type sessions struct {
	token   string
	key     []byte
	now     func() time.Time
	guesses *rate.Limiter
}

// session is one operator at one browser.
type session struct {
	name string
	// seed tells the sessions of one name apart.
	seed  string
	until time.Time
}

func newSessions(token string, now func() time.Time) *sessions {
	key := sha256.Sum256([]byte("patchlane console " + token))
	if token == "" {
		key = sha256.Sum256([]byte(rand.Text()))
	}
	return &sessions{token: token, key: key[:], now: now, guesses: rate.NewLimiter(rate.Every(loginEvery), loginBurst)}
}

// start makes the session of an operator.
func (s *sessions) start(name string) *session {
	return &session{name: clean(name), seed: rand.Text(), until: s.now().Add(sessionTime)}
}

// clean makes a name that fits into a log: printable and short.
func clean(name string) string {
	name = strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }), " ")
	for len(name) > nameBytes {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if name = strings.TrimSpace(name); name == "" {
		return "somebody"
	}
	return name
}

// text is the session as it stands in the cookie, signed.
func (s *sessions) text(v *session) string {
	body := strconv.FormatInt(v.until.Unix(), 10) + "." + v.seed + "." + base64.RawURLEncoding.EncodeToString([]byte(v.name))
	return body + "." + s.sign("session", body)
}

func (s *sessions) sign(purpose, body string) string {
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write([]byte(purpose + "\x00" + body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// read returns the session of a request; nil: there is none that counts.
func (s *sessions) read(r *http.Request) *session {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	body, signature := cookie.Value, ""
	if i := strings.LastIndexByte(body, '.'); i >= 0 {
		body, signature = body[:i], body[i+1:]
	}
	if !same(signature, s.sign("session", body)) {
		return nil
	}
	parts := strings.Split(body, ".")
	if len(parts) != 3 {
		return nil
	}
	until, err := strconv.ParseInt(parts[0], 10, 64)
	name, nameErr := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || nameErr != nil || !s.now().Before(time.Unix(until, 0)) {
		return nil
	}
	return &session{name: string(name), seed: parts[1], until: time.Unix(until, 0)}
}

// formToken is what a form of the session has to bring back.
func (s *sessions) formToken(v *session) string { return s.sign("form", v.seed) }

// cookie keeps a session in the browser; nil ends it. The ops listener speaks
// HTTP, behind a proxy or on the loopback, so only a proxy can add Secure.
func (s *sessions) cookie(v *session, secure bool) *http.Cookie {
	k := &http.Cookie{ //nolint:gosec // Secure where TLS is; elsewhere the browser would drop the cookie
		Name: cookieName, Path: "/ops", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure, MaxAge: -1,
	}
	if v != nil {
		k.Value, k.MaxAge = s.text(v), int(sessionTime.Seconds())
	}
	return k
}

// knows tells whether a request carries the token itself.
func (s *sessions) knows(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if _, password, ok := r.BasicAuth(); ok {
		return same(password, s.token)
	}
	return strings.EqualFold(scheme, "Bearer") && same(strings.TrimSpace(given), s.token)
}

// same compares in a time that does not depend on where they differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
