package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// meter shows people how far a phase is. It says nothing to a file or a pipe,
// except remarks.
type meter struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

// newMeter starts a phase of n steps; 0: nobody knows how many.
func newMeter(w io.Writer, phase string, n int) *meter {
	m := &meter{w: w}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return m
	}
	if n == 0 {
		n = -1
	}
	m.bar = progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(fmt.Sprintf("%-16s", phase)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("writes"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(30))
	return m
}

// step moves the bar by one; it may be called by many at once.
func (m *meter) step() {
	if m.bar != nil {
		_ = m.bar.Add(1) // only for the eye
	}
}

// remark writes a line for people, wherever they read it.
func (m *meter) remark(s string) {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
	_, _ = fmt.Fprintln(m.w, "bench:", s)
}

// done takes the bar away.
func (m *meter) done() {
	if m.bar != nil {
		_ = m.bar.Exit()
		_ = m.bar.Clear()
	}
}
