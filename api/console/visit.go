package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"patchlane/tasks/contact"
)

// visit is one request of an operator.
type visit struct {
	*Console
	w       http.ResponseWriter
	r       *http.Request
	session *session
}

// errRefused is a request that did not come from a form of the session.
var errRefused = errors.New("the form was not one of this session; load the page again")

// frame is what every page shows around its own.
type frame struct {
	// Path is that of the page; Title and Live are the page's own.
	Path, Title string
	// Live says that parts of the page are loaded again by themselves.
	Live     bool
	Operator string
	// Form is the token of the forms; empty: nothing can be changed.
	Form string
	// Login says that there is a token, so that one can leave.
	Login bool
	// Said is what the last action came to, Wrong what failed.
	Said, Wrong string
	Now         time.Time
	Pauses      []contact.Pause
	Page        any
}

// seen serves a page to whoever may see it.
func (c *Console) seen(page func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Console: c, w: w, r: r, session: c.sessions.read(r)}
		switch {
		case v.session == nil && c.o.Token != "" && !c.sessions.knows(r):
			http.Redirect(w, r, "/ops/login?to="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		case v.session == nil && c.o.Token == "":
			v.session = c.sessions.start("local operator")
			http.SetCookie(w, c.sessions.cookie(v.session, overTLS(r)))
		}
		if err := page(v); err != nil {
			v.fail(err) //nolint:contextcheck // it is that of the request
		}
	})
}

// acted runs an action of a session, and answers with a redirect to a page.
func (c *Console) acted(action func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Console: c, w: w, r: r, session: c.sessions.read(r)}
		if v.session == nil {
			http.Redirect(w, r, "/ops/login", http.StatusSeeOther)
			return
		}
		err := r.ParseForm()
		if err == nil && !same(r.PostForm.Get("form"), c.sessions.formToken(v.session)) {
			err = errRefused
		}
		if err == nil {
			err = action(v)
		}
		if err != nil {
			v.fail(err) //nolint:contextcheck // it is that of the request
		}
	})
}

// overTLS tells whether the browser came over TLS, as far as a proxy says so. A
// forged header costs the forger the cookie.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// show renders a page. Nothing is sent before all of it is there.
func (v *visit) show(status int, name, title string, page any) error {
	f := v.frame(title)
	f.Page = page
	var body bytes.Buffer
	if err := v.pages.render(&body, name, f); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = body.WriteTo(v.w) // A browser that went away is no concern.
	return nil
}

func (v *visit) frame(title string) *frame {
	f := &frame{Path: v.r.URL.Path, Title: title, Login: v.o.Token != "", Now: v.o.Now().UTC(), Said: v.query("said")}
	if v.session != nil {
		f.Operator, f.Form = v.session.name, v.sessions.formToken(v.session)
	}
	ctx, cancel := context.WithTimeout(v.r.Context(), frameTime)
	defer cancel()
	// A queue that does not answer is said by the page itself.
	f.Pauses, _ = v.o.Lanes.Pauses(ctx)
	f.Live = f.Path == "/ops" || f.Path == "/ops/lanes" || strings.HasPrefix(f.Path, "/ops/replays/")
	return f
}

// frameTime bounds what every page asks for.
const frameTime = 2 * time.Second

// problem is a page that says what went wrong.
type problem struct{ Text string }

// fail shows an error: in the words that a client is told, or as an outage.
func (v *visit) fail(err error) {
	status, text := http.StatusServiceUnavailable, "Something does not answer at the moment. Try again."
	told, known := errors.AsType[*contact.Error](err)
	switch {
	case errors.Is(err, errRefused):
		status, text = http.StatusForbidden, "This form is not one of your session. Load the page again."
	case known && told.Code == contact.CodeNotFound:
		status, text = http.StatusNotFound, "There is nothing with this id."
	case known && told.Message != "":
		status, text = http.StatusConflict, told.Message
		if told.Code == contact.CodeValidationFailed {
			status = http.StatusBadRequest
		}
	}
	if status == http.StatusServiceUnavailable {
		v.o.Logger.WarnContext(v.r.Context(), "console page failed", "path", v.r.URL.Path, "err", err)
	}
	if err := v.show(status, "problem", "Not done", problem{text}); err != nil {
		http.Error(v.w, text, status)
	}
}

// query returns a parameter of the address.
func (v *visit) query(name string) string { return strings.TrimSpace(v.r.URL.Query().Get(name)) }

// form returns a value of the form.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

// back goes to a page of the console and says what was done.
func (v *visit) back(path, said string) {
	if said != "" {
		path += "?said=" + url.QueryEscape(said)
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
}

// note writes into the operators' log what was done, and into the log of the
// process for when Postgres is away.
func (v *visit) note(action string, account uuid.UUID, target, detail string, problem error) {
	a := contact.OperatorAction{
		Operator: v.session.name, Via: "console", Action: action, Account: account, Target: target, Detail: detail,
	}
	if problem != nil {
		a.Problem = problem.Error()
	}
	v.record(v.r.Context(), a)
}

func (c *Console) record(ctx context.Context, a contact.OperatorAction) {
	c.o.Logger.InfoContext(ctx, "operator acted",
		"operator", a.Operator, "action", a.Action, "account_id", a.Account.String(), "target", a.Target,
		"detail", a.Detail, "err", a.Problem)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := c.o.Book.LogOperator(ctx, a); err != nil {
		c.o.Logger.WarnContext(ctx, "operators' log not written", "action", a.Action, "err", err)
	}
}

// badInput refuses what was typed.
func badInput(message string) error {
	return &contact.Error{Code: contact.CodeValidationFailed, Message: message}
}

// id reads an id that was typed or pasted; empty is uuid.Nil.
func parseID(text, what string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, badInput("The " + what + " is not an id.")
	}
	return id, nil
}
