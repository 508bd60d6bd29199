package console

import (
	"bytes"
	"net/http"
	"strings"
)

// loginForm is what the login page shows.
type loginForm struct{ To, Wrong string }

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	c.showLogin(w, http.StatusOK, loginForm{To: ownPath(r.URL.Query().Get("to"))})
}

func (c *Console) showLogin(w http.ResponseWriter, status int, f loginForm) {
	var body bytes.Buffer
	if err := c.pages.render(&body, "login", &frame{Path: "/ops/login", Title: "Log in", Now: c.o.Now().UTC(), Page: f}); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}

// login starts a session for whoever knows the token.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	to := ownPath(r.PostFormValue("to"))
	switch {
	case !c.sessions.guesses.Allow():
		w.Header().Set("Retry-After", "6")
		c.showLogin(w, http.StatusTooManyRequests, loginForm{to, "Too many tries. Wait some seconds."})
	case !same(r.PostFormValue("token"), c.o.Token):
		c.o.Logger.WarnContext(r.Context(), "console login refused", "peer", r.RemoteAddr)
		c.showLogin(w, http.StatusForbidden, loginForm{to, "This is not the token."})
	default:
		s := c.sessions.start(r.PostFormValue("name"))
		http.SetCookie(w, c.sessions.cookie(s, overTLS(r)))
		(&visit{Console: c, w: w, r: r, session: s}).note("log in", [16]byte{}, "", "", nil) //nolint:contextcheck // it is that of the request
		http.Redirect(w, r, to, http.StatusSeeOther)                                         //nolint:gosec // ownPath keeps it within the console
	}
}

func (c *Console) logout(v *visit) error {
	http.SetCookie(v.w, c.sessions.cookie(nil, overTLS(v.r)))
	v.note("log out", [16]byte{}, "", "", nil)
	v.back("/ops/login", "")
	return nil
}

// ownPath keeps a redirect within the console.
func ownPath(to string) string {
	if (to != "/ops" && !strings.HasPrefix(to, "/ops/") && !strings.HasPrefix(to, "/ops?")) ||
		strings.ContainsAny(to, "\\\r\n") || strings.Contains(to, "//") || strings.HasPrefix(to, "/ops/log") && to != "/ops/log" {
		return "/ops"
	}
	return to
}
