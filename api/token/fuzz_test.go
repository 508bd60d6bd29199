package token

import (
	"encoding/pem"
	"strings"
	"testing"
)

// FuzzJWKS: of whatever an issuer's site says, only public keys that are strong
// enough are taken.
func FuzzJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},{"kty":"RSA","kid":"b","n":"AQAB","e":"AQAB"},{"kty":"EC"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		known, err := parseJWKS(body)
		if (len(known) == 0) != (err != nil) || len(known) > maxRemoteKeys {
			t.Fatalf("%d keys, %v", len(known), err)
		}
		for id, k := range known {
			if id == "" || !usable(k.public) {
				t.Fatalf("key %q of type %T is taken", id, k.public)
			}
		}
	})
}

// FuzzPEM: a key file is read or refused, and the refusal repeats nothing of it.
func FuzzPEM(f *testing.F) {
	f.Add("PRIVATE KEY", []byte("secret"))
	f.Add("PUBLIC KEY", []byte{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00})
	f.Add("EC PRIVATE KEY", []byte{0x30})
	f.Fuzz(func(t *testing.T, kind string, der []byte) {
		file := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		_, err := ParsePEM(append(file, der...))
		// The kind of a block is named; it is no secret.
		told := err != nil && strings.Contains(err.Error(), string(der)) && !strings.Contains(kind, string(der))
		if told && len(der) > 8 {
			t.Fatalf("the refusal repeats the key: %v", err)
		}
	})
}
