package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxSecrets bounds the live secrets of an endpoint.
const maxSecrets = 3

// Validate reports every reason why an endpoint could never verify a request,
// for the moment of its configuration. Its texts are fit for clients and name
// no secret.
func (e Endpoint) Validate() error {
	if !slices.Contains(Providers(), e.Provider) {
		return fmt.Errorf("provider must be one of %v", Providers())
	}
	var problems []error
	add := func(text string) { problems = append(problems, errors.New(text)) }
	if len(e.Secrets) > maxSecrets {
		add("at most three secrets can be live at once")
	}
	if e.Provider == SES {
		if parts := strings.Split(e.TopicARN, ":"); len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" {
			add("topic_arn must be the ARN of the SNS topic")
		}
	} else if len(e.Secrets) == 0 {
		add("a secret is needed")
	}
	for _, s := range e.Secrets {
		if problem := e.Provider.secretProblem(s); problem != "" {
			add(problem)
		}
	}
	return errors.Join(problems...)
}

// secretProblem says what is wrong with a secret, or "".
func (p Provider) secretProblem(s string) string {
	if strings.TrimSpace(s) == "" {
		return "a secret must not be empty"
	}
	switch p {
	case Telnyx:
		if raw, err := base64.StdEncoding.DecodeString(s); err != nil || len(raw) != 32 {
			return "the secret must be the base64 public key of 32 bytes"
		}
	case SendGrid:
		if _, ok := ecdsaKey(s); !ok {
			return "the secret must be the base64 ECDSA public key"
		}
	case Standard, Resend:
		if _, ok := parseStandardKey(s); !ok {
			return "the secret must be whsec_ and base64 of at least 24 bytes"
		}
	case Postmark, SparkPost, SES:
		if user, password, _ := strings.Cut(s, ":"); user == "" || password == "" {
			return "the secret must be user:password"
		}
	default:
	}
	return ""
}
