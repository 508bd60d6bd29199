package contact

import "time"

// SigningKey is a key pair that signs access tokens. The higher generation is the
// newer one.
type SigningKey struct {
	Generation int `json:"generation"`
	// Private is PKCS #8, and is in the store alone.
	Private []byte `json:"-"`
	// Public is the PKIX form of the public half.
	Public    []byte    `json:"public"`
	CreatedAt time.Time `json:"created_at"`
}
