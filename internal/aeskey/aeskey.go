package aeskey

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

// Generate returns a new key: 32 random bytes in base64.
func Generate() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// Parse reads a key of 16, 24 or 32 bytes in base64. Its error does not quote it, and goes on where
// the caller has said which key it is.
func Parse(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64")
	}
	if n := len(key); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("has %d bytes: want 16, 24 or 32", n)
	}
	return key, nil
}
