package signature

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// meaning is what a text message says about consent.
type meaning uint8

// The meanings. A sentence is only ever mentioned: somebody has to read it.
const (
	meansNothing meaning = iota
	meansStop
	meansStart
	meansHelp
	meansYes
	meansMention
)

// maxKeyword is the longest text that can be a keyword, in runes.
const maxKeyword = 20

// stopWords are the words that opt out when they are the whole message. An
// account may add to them and cannot take any away.
func stopWords() []string {
	return []string{
		"STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT",
		"REVOKE", "OPTOUT", "OPT OUT", "OPT-OUT", "REMOVE", "ARRET", "ARRETE",
	}
}

// startWords opt in again; YES is not among them, as it also answers any
// other question.
func startWords() []string { return []string{"START", "UNSTOP"} }

// helpWords ask for help and change nothing.
func helpWords() []string { return []string{"HELP", "INFO", "AIDE"} }

// naturalWords are whole messages and phrases that a reasonable person would
// understand as an opt-out, though no provider takes them for a keyword.
func naturalWords() []string {
	return []string{
		"OPT ME OUT", "OPTED OUT", "TAKE ME OFF", "LEAVE ME ALONE",
		"DO NOT TEXT", "DONT TEXT", "DON'T TEXT", "DO NOT CONTACT", "DONT CONTACT",
		"DON'T CONTACT", "DO NOT MESSAGE", "DONT MESSAGE", "DON'T MESSAGE",
		"NO MORE TEXTS", "NO MORE MESSAGES", "ALTO", "PARAR", "BAJA", "NO MAS", "CANCELAR",
	}
}

// harmlessPhrases use a stop word for something else.
func harmlessPhrases() []string {
	return []string{"STOP BY", "BUS STOP", "END OF", "THE END"}
}

// messagingWords tell that a sentence is about being written to.
func messagingWords() []string {
	return []string{
		"ME", "US", "TEXT", "TEXTS", "TEXTING", "MESSAGE", "MESSAGES", "MESSAGING", "MSG",
		"MSGS", "SMS", "SPAM", "CONTACT", "CONTACTING", "SENDING", "WRITING", "CALLING",
		"EMAIL", "EMAILS", "LIST", "SUBSCRIPTION",
	}
}

// classify tells what a text message means. Only a message that is a keyword
// as a whole is one: "STOP PLEASE" is not, at the providers neither.
func (e Endpoint) classify(body string) meaning {
	normal := trimKeyword(fold(body))
	if runes := len([]rune(normal)); runes > 0 && runes <= maxKeyword {
		if m := e.keyword(normal); m != meansNothing {
			return m
		}
	}
	if !e.IgnoreMentions && mentions(normal) {
		return meansMention
	}
	return meansNothing
}

// keyword looks a normalised text up. The common words come first, so that an
// account's own cannot turn their meaning around.
func (e Endpoint) keyword(word string) meaning {
	own := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return trimKeyword(fold(w)) == word })
	}
	switch {
	case slices.Contains(stopWords(), word):
		return meansStop
	case slices.Contains(startWords(), word):
		return meansStart
	case slices.Contains(helpWords(), word):
		return meansHelp
	case own(e.StopWords):
		return meansStop
	case own(e.StartWords):
		return meansStart
	case word == "YES":
		return meansYes
	default:
		return meansNothing
	}
}

// mentions tells whether a text holds a stop word without being one, or asks
// in other words to be left alone. It errs towards review, which changes
// nothing; what it leaves out are phrases that use a stop word for something
// else, in a message that is not about messages.
func mentions(normal string) bool {
	normal = strings.ReplaceAll(normal, "\u2019", "'")
	words := strings.FieldsFunc(normal, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\''
	})
	sentence := " " + strings.Join(words, " ") + " "
	within := func(phrases []string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool {
			return strings.Contains(sentence, " "+p+" ")
		})
	}
	if within(naturalWords()) {
		return true
	}
	if !within(messagingWords()) {
		for _, p := range harmlessPhrases() {
			sentence = strings.ReplaceAll(sentence, " "+p+" ", " ")
		}
	}
	return within(stopWords())
}

// fold brings a text into the form of the word lists: compatibility forms
// replaced, invisible characters dropped, inner space made one, upper case,
// diacritics off.
func fold(s string) string {
	s = norm.NFKC.String(cut(s, 4096))
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		default:
			return r
		}
	}, s)
	s = strings.ToUpper(strings.Join(strings.Fields(s), " "))
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
	return norm.NFC.String(s)
}

// trimKeyword takes the space and punctuation off both ends.
func trimKeyword(s string) string { return strings.Trim(s, " .,!?;:\"'*()[]-") }
