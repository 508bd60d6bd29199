package api

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// findChromium returns the path of a Chromium; deploy/deps.sh installs one.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		os.Getenv("PATCHLANE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Fatal("no Chromium on this machine: run deploy/deps.sh, or set PATCHLANE_CHROMIUM to its path")
	return ""
}

// tab is a page of a headless Chromium, and what it did of its own.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in its context

	mu       sync.Mutex
	fetched  []string
	problems []string
}

// open starts a browser with one tab.
func open(t *testing.T, width, height int64) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(findChromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // It refuses to run as root with one.
	}
	ctx, endProcess := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(endProcess)
	ctx, endTab := chromedp.NewContext(ctx)
	t.Cleanup(endTab)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	var mobile []chromedp.EmulateViewportOption
	if width < 500 {
		mobile = []chromedp.EmulateViewportOption{chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait}
	}
	b.do(chromedp.EmulateViewport(width, height, mobile...))
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	return b
}

// close ends the browser before the temporary folder of its data goes.
func (b *tab) close() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		b.t.Errorf("close the browser: %v", err)
	}
}

// listen notes every request and every complaint of the browser.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.fetched = append(b.fetched, e.Request.Method+" "+e.Request.URL)
	case *log.EventEntryAdded:
		b.problems = append(b.problems, e.Entry.Text)
	}
}

// run does one thing in the tab and returns what it gave.
func run[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(steps...))
}

// call sends a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	return run(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

// until waits for a page with this title. While the browser goes from one page
// to the next, an expression may fail.
func (b *tab) until(title string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState + " " + document.title`))
		if err == nil && now == "complete "+title {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("no page %q: %q, %v", title, now, err)
		case <-tick.C:
		}
	}
}

// button is where the one button is: left, top, right and bottom.
func (b *tab) button() [4]float64 {
	b.t.Helper()
	return run(b, chromedp.Evaluate[[4]float64](
		`(r => [r.left, r.top, r.right, r.bottom])(document.querySelector("button").getBoundingClientRect())`))
}

// contrasts gives the contrast of each text of the page to what is behind it,
// as WCAG 2 computes it.
const contrasts = `(() => {
	const rgb = s => s.match(/[\d.]+/g).map(Number);
	const lum = s => rgb(s).slice(0, 3).map(v => v / 255)
		.map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => { const s = getComputedStyle(e).backgroundColor;
		return (rgb(s)[3] ?? 1) === 0 && e.parentElement ? behind(e.parentElement) : s; };
	return Object.fromEntries([...document.querySelectorAll('h1, p, button')].map(e => {
		const [a, b] = [lum(getComputedStyle(e).color), lum(behind(e))].sort();
		return [e.tagName, (b + 0.05) / (a + 0.05)];
	}));
})()`

// checkLooks holds a page against what people with a phone, little sight or no
// mouse need.
func (b *tab) checkLooks() {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		ratios := run(b, chromedp.Evaluate[map[string]float64](contrasts))
		if len(ratios) < 2 {
			b.t.Errorf("%d kinds of text", len(ratios))
		}
		for tag, ratio := range ratios {
			if ratio < 4.5 {
				b.t.Errorf("%s: %s has a contrast of %.2f", scheme, tag, ratio)
			}
		}
	}
	if sideways := run(b, chromedp.Evaluate[int](`document.scrollingElement.scrollWidth - innerWidth`)); sideways > 0 {
		b.t.Errorf("the page is %d pixels too wide", sideways)
	}
	if small := run(b, chromedp.Evaluate[[]string](`[...document.querySelectorAll('p, button')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 16).map(e => e.tagName)`)); len(small) > 0 {
		b.t.Errorf("small print in %v", small)
	}
	if got := run(b, chromedp.Evaluate[string](`document.documentElement.lang`)); got != "en" {
		b.t.Errorf("the language is %q", got)
	}
}

// roles lists what a screen reader finds.
func (b *tab) roles() []string {
	b.t.Helper()
	var found []string
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if role := text(n.Role); !n.Ignored && slices.Contains([]string{"main", "heading", "button"}, role) {
			found = append(found, strings.TrimSpace(role+" "+text(n.Name)))
		}
	}
	return found
}

func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// quiet expects the browser to have asked nobody but us, with these methods,
// and to have found nothing to complain about.
func (b *tab) quiet(origin string, methods ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := make([]string, 0, len(b.fetched))
	for _, f := range b.fetched {
		method, u, _ := strings.Cut(f, " ")
		if got = append(got, method); !strings.HasPrefix(u, origin+"/v1/unsubscribe/") {
			b.t.Errorf("the page asked for %s", f)
		}
	}
	if !slices.Equal(got, methods) {
		b.t.Errorf("the browser sent %v, wanted %v", got, methods)
	}
	if len(b.problems) > 0 {
		b.t.Errorf("the browser complains: %q", b.problems)
	}
}

// TestThePageInABrowser: a person opens a link in Chromium, on a phone and by
// keyboard; nothing changes before the one button is pressed.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	tap := func(b *tab) {
		at := b.button()
		b.do(chromedp.TapXY((at[0]+at[2])/2, (at[1]+at[3])/2))
	}
	press := func(b *tab) { b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter)) }
	for name, c := range map[string]struct {
		width, height int64
		push          func(*tab)
	}{
		"a finger on a small phone": {320, 568, tap},
		"a keyboard at a desk":      {1280, 800, press},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const address = "a.person.with.quite.a.long.name@mail.department.example.com"
			b := setup(t)
			srv := httptest.NewServer(b.server.Handler())
			t.Cleanup(srv.Close)
			page := open(t, c.width, c.height)
			defer page.close()
			page.do(chromedp.Navigate(srv.URL + b.link(t, `{"address":"`+address+`"}`)))
			page.until("Unsubscribe")
			page.checkLooks()
			if got := page.roles(); !slices.Equal(got, []string{"main", "heading Unsubscribe", "button Unsubscribe"}) {
				t.Errorf("a screen reader finds %q", got)
			}
			if at := page.button(); at[2]-at[0] < 44 || at[3]-at[1] < 44 || at[0] < 0 || at[2] > float64(c.width) || at[3] > float64(c.height) {
				t.Errorf("the button is at %v", at)
			}
			page.quiet(srv.URL, "GET")
			if n := len(b.hooks.taken()); n != 0 {
				t.Fatalf("showing the page kept %d events", n)
			}
			c.push(page)
			page.until("You are unsubscribed")
			page.checkLooks()
			if got := page.roles(); !slices.Equal(got, []string{"main", "heading You are unsubscribed"}) {
				t.Errorf("a screen reader finds %q", got)
			}
			page.quiet(srv.URL, "GET", "POST")
			if taken := b.hooks.taken(); len(taken) != 1 || taken[0].Address != address {
				t.Errorf("kept %+v", taken)
			}
		})
	}
}
