package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page is part of the binary
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed docs.html
var docsTemplate string

// docsPage is the specification as a page for people: no script, nothing from
// elsewhere, the same text as openapi.yaml.
type docsPage struct {
	body   []byte
	policy string
}

// docs serves the page.
func (s *Server) docs(_ context.Context, x *exchange) error {
	h := x.w.Header()
	h.Set("Content-Security-Policy", s.page.policy)
	h.Set("Referrer-Policy", "no-referrer")
	x.send(http.StatusOK, "text/html; charset=utf-8", s.page.body)
	return nil
}

// docsPath is one path of the specification, in its order.
type docsPath struct {
	Path       string
	Operations []docsOperation
}

type docsOperation struct {
	Method      string
	ID          string `yaml:"operationId"`
	Summary     string `yaml:"summary"`
	Description string `yaml:"description"`
	Replies     []docsReply
}

type docsReply struct{ Status, Description string }

// renderDocs makes the page once, when the server is made.
func renderDocs(spec []byte) (docsPage, error) {
	var doc struct {
		Info struct {
			Title       string `yaml:"title"`
			Description string `yaml:"description"`
		} `yaml:"info"`
		Paths      yaml.Node            `yaml:"paths"`
		Components map[string]yaml.Node `yaml:"components"`
	}
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return docsPage{}, fmt.Errorf("read specification: %w", err)
	}
	var shared map[string]struct {
		Description string `yaml:"description"`
	}
	responses := doc.Components["responses"]
	if err := responses.Decode(&shared); err != nil {
		return docsPage{}, fmt.Errorf("read shared responses: %w", err)
	}
	describe := func(reply map[string]any) string {
		if ref, ok := reply["$ref"].(string); ok {
			return shared[ref[strings.LastIndexByte(ref, '/')+1:]].Description
		}
		text, _ := reply["description"].(string)
		return text
	}
	var paths []docsPath
	err := eachMember(&doc.Paths, func(path string, item *yaml.Node) error {
		p, err := readDocsPath(path, item, describe)
		paths = append(paths, p)
		return err
	})
	if err != nil {
		return docsPage{}, err
	}
	var page bytes.Buffer
	t, err := template.New("docs").Parse(docsTemplate)
	if err == nil {
		err = t.Execute(&page, struct {
			Title, Description string
			Paths              []docsPath
		}{doc.Info.Title, doc.Info.Description, paths})
	}
	if err != nil {
		return docsPage{}, fmt.Errorf("render specification: %w", err)
	}
	return docsPage{body: page.Bytes(), policy: stylePolicy(page.String())}, nil
}

// readDocsPath reads the operations of one path.
func readDocsPath(path string, item *yaml.Node, describe func(map[string]any) string) (docsPath, error) {
	p := docsPath{Path: path}
	err := eachMember(item, func(name string, value *yaml.Node) error {
		switch name {
		case "get", "post", "put", "patch", "delete", "head":
		default:
			return nil
		}
		op := docsOperation{Method: strings.ToUpper(name)}
		if err := value.Decode(&op); err != nil {
			return fmt.Errorf("read %s %s: %w", name, path, err)
		}
		err := eachMember(value, func(member string, replies *yaml.Node) error {
			if member != "responses" {
				return nil
			}
			return eachMember(replies, func(status string, reply *yaml.Node) error {
				var r map[string]any
				err := reply.Decode(&r)
				op.Replies = append(op.Replies, docsReply{Status: status, Description: describe(r)})
				return err
			})
		})
		p.Operations = append(p.Operations, op)
		return err
	})
	return p, err
}

// eachMember visits the members of a YAML mapping in their order.
func eachMember(n *yaml.Node, visit func(name string, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := visit(n.Content[i].Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// stylePolicy allows the page its own style and nothing else.
func stylePolicy(page string) string {
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
