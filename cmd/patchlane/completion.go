package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd is `patchlane completion`.
type completionCmd struct {
	Shell string `arg:"" name:"shell" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the long text of --help.
func (*completionCmd) Help() string {
	return `To complete commands and flags in this shell and later ones:

  bash  patchlane completion bash > ~/.local/share/bash-completion/completions/patchlane
  zsh   echo 'source <(patchlane completion zsh)' >> ~/.zshrc
  fish  patchlane completion fish > ~/.config/fish/completions/patchlane.fish`
}

// Run prints the script, made from the commands of this very release.
func (c *completionCmd) Run(k *kong.Kong, s streams) error {
	commands := commandWords(k.Model.Node, "", nil)
	var b strings.Builder
	switch c.Shell {
	case "fish":
		fishScript(&b, commands)
	case "zsh":
		b.WriteString("autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n")
		bashScript(&b, commands)
	default:
		bashScript(&b, commands)
	}
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// words are what may follow a command.
type words struct {
	path     string
	children []*kong.Node
	flags    []*kong.Flag
}

// commandWords lists every command, the outer ones first, with its own flags and
// those that it inherits.
func commandWords(n *kong.Node, path string, flags []*kong.Flag) []words {
	flags = append(slices.Clip(flags), n.Flags...)
	w := words{path: path, flags: flags}
	list := []words{{}}
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		w.children = append(w.children, child)
		list = append(list, commandWords(child, strings.TrimSpace(path+" "+child.Name), flags)...)
	}
	list[0] = w
	return list
}

// candidates are the words themselves; a flag that a command hides is not one.
func (w words) candidates() []string {
	var list []string
	for _, child := range w.children {
		list = append(list, child.Name)
	}
	for _, f := range w.flags {
		if !f.Hidden {
			list = append(list, "--"+f.Name)
		}
	}
	return list
}

// bashScript completes by the longest command that the line begins with.
func bashScript(b *strings.Builder, commands []words) {
	b.WriteString("_patchlane() {\n    local path='' word candidates\n    COMPREPLY=()\n" +
		"    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n        case \"$path $word\" in\n")
	for _, w := range commands[1:] {
		fmt.Fprintf(b, "        %q) path=%q ;;\n", strings.TrimSuffix(" "+w.path, " "), " "+w.path)
	}
	b.WriteString("        esac\n    done\n    case \"$path\" in\n")
	for _, w := range commands {
		path := w.path
		if path != "" {
			path = " " + path
		}
		fmt.Fprintf(b, "    %q) candidates=%q ;;\n", path, strings.Join(w.candidates(), " "))
	}
	b.WriteString("    esac\n    COMPREPLY=($(compgen -W \"$candidates\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n" +
		"complete -o default -F _patchlane patchlane\n")
}

// fishScript lists the words under the condition that their command was said.
func fishScript(b *strings.Builder, commands []words) {
	b.WriteString("complete -c patchlane -f\n")
	for _, w := range commands {
		condition := "__fish_use_subcommand"
		if w.path != "" {
			var said []string
			for word := range strings.FieldsSeq(w.path) {
				said = append(said, "__fish_seen_subcommand_from "+word)
			}
			condition = strings.Join(said, "; and ")
		}
		for _, child := range w.children {
			fmt.Fprintf(b, "complete -c patchlane -n %s -a %s -d %s\n", fishQuote(condition), child.Name, fishQuote(child.Help))
		}
		for _, f := range w.flags {
			if !f.Hidden {
				fmt.Fprintf(b, "complete -c patchlane -n %s -l %s -d %s\n", fishQuote(condition), f.Name, fishQuote(f.Help))
			}
		}
	}
}

// fishQuote makes one word for fish.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", " ").Replace(s) + "'"
}
