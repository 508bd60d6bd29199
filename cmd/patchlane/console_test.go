package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"patchlane/api/signature"
	"patchlane/cmd/patchlane/simulate"
)

var shots = flag.String("shots", "", "folder for pictures of the console")

// browser is a real Chromium on the console.
type browser struct {
	tb  testing.TB
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in its context
	url string
}

// openBrowser starts a Chromium that ends with the test; deploy/deps.sh installs one.
func openBrowser(tb testing.TB, url string) *browser {
	tb.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(findChromium(tb)), chromedp.UserDataDir(tb.TempDir()), chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // It refuses to run as root with one.
	}
	ctx, endProcess := chromedp.NewExecAllocator(tb.Context(), options...)
	tb.Cleanup(endProcess)
	ctx, endTab := chromedp.NewContext(ctx)
	tb.Cleanup(endTab)
	b := &browser{tb: tb, ctx: ctx, url: url}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1000, 640)); err != nil {
		tb.Fatal(err)
	}
	return b
}

func findChromium(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{os.Getenv("PATCHLANE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatal("no Chromium on this machine: run deploy/deps.sh")
	return ""
}

// do runs steps that must succeed, and shows the page if they do not.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.tb.Fatalf("%v on %q", err, b.text())
	}
}

// text is what stands on the page.
func (b *browser) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return err.Error()
	}
	return text
}

// at goes to a page.
func (b *browser) at(path string) { b.tb.Helper(); b.do(chromedp.Navigate(b.url + path)) }

// click clicks the link or button that these words begin.
func (b *browser) click(words string) {
	b.tb.Helper()
	at := chromedp.Search(fmt.Sprintf(`//*[self::a or self::button][starts-with(normalize-space(.), %q) or starts-with(@aria-label, %q)]`, words, words))
	b.do(chromedp.WaitVisible(at), chromedp.Click(at))
}

// fill types into the field of a name.
func (b *browser) fill(name, text string) {
	b.tb.Helper()
	field := fmt.Sprintf(`main input[name=%q]`, name)
	b.do(chromedp.WaitVisible(field), chromedp.SendKeys(field, text))
}

// dark asks for the dark colours.
func (b *browser) dark() {
	b.tb.Helper()
	_, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
	})
	if err != nil {
		b.tb.Fatal(err)
	}
}

// pick ticks the box of a row.
func (b *browser) pick(row int) {
	b.tb.Helper()
	b.do(chromedp.Click(fmt.Sprintf(`tbody tr:nth-child(%d) input[type=checkbox]`, row)))
}

// sees waits until the page has words on it.
func (b *browser) sees(words string) {
	b.tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	wait := backOff{wait: 20 * time.Millisecond, most: 200 * time.Millisecond}
	for !strings.Contains(b.text(), words) {
		if time.Now().After(deadline) || !wait.pause(b.ctx) {
			b.tb.Fatalf("%q is not on the page: %q", words, b.text())
		}
	}
}

// fits wants that nothing has to be moved sideways.
func (b *browser) fits() {
	b.tb.Helper()
	wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](`document.scrollingElement.scrollWidth - innerWidth`))
	if err != nil || wide > 0 {
		b.tb.Errorf("%d pixels wider than the screen, %v: %q", wide, err, b.text())
	}
}

// shot writes a picture of the page when pictures are asked for (-shots DIR).
func (b *browser) shot(name string) {
	b.tb.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o600)
	}
	if err != nil {
		b.tb.Fatal(err)
	}
}

// The whole console in a real browser: an operator finds, previews and mends
// failed writes, judges an opt-out, pauses and resumes, and follows a contact.
func TestConsoleInABrowser(t *testing.T) {
	t.Parallel()
	s, _ := newSite(t)
	const token = "a-token-of-operators"
	s.apiArgs, s.more = []string{"--ops-token", token}, `,"job_title":"CFO","company_name":"Analytical Engines"`
	a, paths := s.failMany(3, 4)
	id := strings.TrimPrefix(paths[0], "/v1/contacts/")
	a.do("PATCH", paths[0], `{"job_title":"Analyst"}`, "Prefer", "wait=10")
	b := openBrowser(t, a.Ops)

	// In, by the form.
	b.at("/ops/failed")
	b.fill("name", "Ada")
	b.fill("token", "a wrong token")
	b.click("Log in")
	b.sees("This is not the token.")
	b.fill("name", "Ada")
	b.fill("token", token)
	b.click("Log in")
	b.sees("in the order in which they were accepted")
	b.shot("failed")
	b.click("Overview")
	b.sees("wait for a retry or a discard")
	b.shot("overview")

	// One write: previewed and retried.
	b.at("/ops/failed?contact=" + id)
	b.sees("4 failed writes of 12")
	b.click("patch …")
	b.sees("would be applied")
	b.sees("changed since")
	b.shot("failure")
	b.click("Retry")
	b.sees("1 of 1")
	// The next two at once, picked from the list; the last given up.
	b.at("/ops/failed?contact=" + id)
	b.pick(1)
	b.pick(2)
	b.click("Retry picked")
	b.sees("2 of 2")
	b.at("/ops/failed?contact=" + id)
	b.pick(1)
	b.click("Discard picked")
	b.sees("1 discarded.")
	s.notes(a, paths[0], "0\n1\n2")

	// All others, played first.
	b.click("Retry all 8")
	b.sees("The first 8 were played")
	b.shot("confirm")
	b.click("Retry 8 in their order")
	b.sees("8 of 8")
	b.shot("replay")
	for _, p := range paths[1:] {
		s.notes(a, p, "0\n1\n2\n3")
	}

	s.judgeInABrowser(b, a)
	s.pauseInABrowser(b, a, paths[0])

	// A contact from end to end, by its id.
	b.click("Follow")
	b.fill("id", id)
	b.click("Look")
	b.sees("What changed")
	b.sees("job_title")
	b.shot("follow")
	b.click("Keys")
	b.sees("Secrets are not shown")
	b.shot("keys")
	html, err := chromedp.Run(b.ctx, chromedp.OuterHTML("html"))
	if err != nil || strings.Contains(html, s.key) {
		t.Error("the page of keys holds a key")
	}
	b.click("Log")
	for _, did := range []string{"retry writes", "discard writes", "dismiss opt-out", "pause", "resume", "log in", "8 retried"} {
		b.sees(did)
	}
	b.shot("log")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait))
	b.dark()
	for _, page := range []string{"", "/lanes", "/failed", "/optouts", "/follow?id=" + id, "/keys", "/log"} {
		b.at("/ops" + page)
		b.fits()
		b.shot("phone-" + strings.TrimLeft(strings.SplitN(page, "?", 2)[0], "/"))
	}
	b.click("Log out")
	b.sees("Token of --ops-token")
	b.at("/ops/lanes")
	b.sees("Token of --ops-token")
}

// notes waits until a contact has these notes.
func (s *site) notes(a *node, path, want string) {
	s.tb.Helper()
	s.eventually(20*time.Second, "notes", func() error {
		if r := a.do("GET", path, ""); r.Data.Notes == nil || *r.Data.Notes != want {
			return fmt.Errorf("%s", r.raw)
		}
		return nil
	})
}

// judgeInABrowser accepts one report and dismisses another.
func (s *site) judgeInABrowser(b *browser, a *node) {
	s.tb.Helper()
	first, second := s.doubtful(a, "+46701234501"), s.doubtful(a, "+46701234502")
	s.eventually(10*time.Second, "reports", func() error {
		var list struct{ Data []struct{ ID string } }
		if err := json.Unmarshal(a.do("GET", "/v1/optout-reviews", "").raw, &list); err != nil || len(list.Data) != 2 {
			return fmt.Errorf("%d reports, %v", len(list.Data), err) //nolint:errorlint // err may be nil
		}
		return nil
	})
	b.click("Opt-outs")
	b.sees("In doubt (2)")
	b.shot("optouts")
	b.click("Accept the opt-out of +46701234501")
	b.sees("Accepted.")
	b.at("/ops/optouts")
	b.click("Dismiss the report about +46701234502")
	b.sees("Dismissed.")
	s.eventually(10*time.Second, "the opt-out", func() error {
		if c := a.consentOf(first); !c.SMS {
			return fmt.Errorf("%s", c)
		}
		return nil
	})
	if c := a.consentOf(second); c.SMS {
		s.tb.Errorf("a dismissed report opted out: %s", c)
	}
}

// doubtful makes a contact and a report about its number that somebody must judge.
func (s *site) doubtful(a *node, phone string) (path string) {
	s.tb.Helper()
	path = a.person("jane"+phone[8:]+"@b.example", phone)
	r := a.do("POST", "/v1/webhook-endpoints", `{"provider":"twilio","secret":"token"}`)
	var made struct{ ID, URL string }
	if err := json.Unmarshal(r.raw, &made); err != nil {
		s.tb.Fatalf("endpoint: %d %s", r.Status, r.raw)
	}
	for _, event := range []simulate.Event{simulate.Sentence, simulate.Garbage} {
		s.post(&simulate.Drill{Provider: signature.Twilio, Event: event, Address: phone, Key: "token", Target: made.URL, Signed: made.URL})
	}
	return path
}

// pauseInABrowser pauses the account, and resumes it.
func (s *site) pauseInABrowser(b *browser, a *node, path string) {
	s.tb.Helper()
	b.click("Lanes")
	b.fill("account", s.account())
	b.fill("reason", "runaway import")
	b.click("Pause")
	b.sees("runaway import")
	r := a.do("PATCH", path, `{"job_title":"Countess"}`)
	s.eventually(10*time.Second, "the write aside", func() error { return s.aside(1) })
	b.at("/ops/follow?id=" + r.Data.WriteID)
	b.sees("aside, since its account is paused")
	b.shot("paused")
	b.at("/ops/lanes")
	b.shot("lanes")
	b.click("Resume account")
	b.sees("go on.")
	s.eventually(10*time.Second, "the write", func() error {
		if r := a.do("GET", path, ""); !strings.Contains(string(r.raw), "Countess") {
			return fmt.Errorf("%s", r.raw)
		}
		return nil
	})
}
