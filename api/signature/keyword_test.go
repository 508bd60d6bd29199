package signature

import (
	"slices"
	"strings"
	"testing"
)

func TestKeywords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]meaning{
		"STOP": meansStop, "stop": meansStop, " Stop ": meansStop, "STOP.": meansStop, "\"Stop!\"": meansStop,
		"(stop)": meansStop, "*STOP*": meansStop, "stop\n": meansStop, "S\u200bTOP\ufeff": meansStop,
		"ＳＴＯＰ": meansStop, "STOPALL": meansStop, "stop  all": meansStop, "Unsubscribe": meansStop,
		"cancel": meansStop, "End": meansStop, "quit": meansStop, "revoke": meansStop, "OptOut": meansStop,
		"opt out": meansStop, "opt-out": meansStop, "remove": meansStop, "ARRÊT": meansStop, "arrêté": meansStop,
		"Arre\u0302t": meansStop, "START": meansStart, "unstop!": meansStart, "HELP": meansHelp, "info": meansHelp,
		"aide?": meansHelp, "YES": meansYes, "yes.": meansYes,
		"STOP PLEASE": meansMention, "please stop texting me": meansMention, "Stop stop": meansMention,
		"please opt me out": meansMention, "take me off your list": meansMention, "don’t text me again": meansMention,
		"Stop by the office, and stop texting me": meansMention, "STOP 🛑": meansMention, "“STOP”": meansMention,
		"cancel my appointment": meansMention, "no más": meansMention, "BAJA": meansMention,
		"Please stop by the office at 5pm": meansNothing, "meet me at noon": meansNothing, "nonstop fun": meansNothing,
		"See you at the bus stop": meansNothing, "the week end was nice": meansMention, "": meansNothing, "...": meansNothing,
		"stopping": meansNothing, "OK": meansNothing, "start now": meansNothing, "yes please": meansNothing,
		strings.Repeat("long ", 2000) + "STOP": meansNothing, "STOP" + strings.Repeat(" ", 100): meansStop,
	} {
		if got := (Endpoint{}).classify(text); got != want {
			t.Errorf("%.40q means %d, want %d", text, got, want)
		}
	}
}

func TestKeywordsOfAnAccount(t *testing.T) {
	t.Parallel()
	ep := Endpoint{StopWords: []string{"no más", "START", "help"}, StartWords: []string{"Otra vez", "STOP"}, IgnoreMentions: true}
	for text, want := range map[string]meaning{
		"No mas!": meansStop, "otra vez": meansStart, "STOP": meansStop, "START": meansStart, "HELP": meansHelp,
		"please stop texting me": meansNothing,
	} {
		if got := ep.classify(text); got != want {
			t.Errorf("%q means %d, want %d", text, got, want)
		}
	}
}

func TestVerdictOfTheProviderComesFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verdict, text string
		want          meaning
	}{
		{"STOP", "hello", meansStop},
		{"START", "STOP", meansStart},
		{"HELP", "STOP", meansHelp},
		{"", "STOP", meansStop},
		{"NEWWORD", "STOP", meansStop},
		{"start", "YES", meansStart},
	} {
		if got := (Endpoint{}).judge(c.verdict, c.text); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func FuzzKeyword(f *testing.F) {
	for _, s := range []string{"STOP", "stop by", "ARRÊT", "\x00\xff", "don’t text"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		folded := trimKeyword(fold(s))
		if got := trimKeyword(fold(folded)); got != folded && (Endpoint{}).classify(s) == meansStop {
			t.Errorf("%q folds to %q, then to %q", s, folded, got)
		}
		if m := (Endpoint{}).classify(s); m == meansStop && !slices.Contains(stopWords(), folded) {
			t.Errorf("%q is a stop word", s)
		}
	})
}
