package text

import "strings"

// Secrets are texts that must not be repeated: passwords, keys. An empty one is none.
type Secrets []string

// minPrefix is how many bytes at the end of a text are taken for the beginning of a secret.
const minPrefix = 4

// Redact takes the secrets out of a text. The text may have been cut: what it ends with may be the
// beginning of a secret, and goes as well.
func (all Secrets) Redact(s string) string {
	const redacted = "…"
	for _, secret := range all {
		if secret == "" {
			continue
		}
		s = strings.ReplaceAll(s, secret, redacted)
		end := strings.TrimSuffix(s, redacted)
		for n := len(secret) - 1; n >= minPrefix; n-- {
			if rest, ok := strings.CutSuffix(end, secret[:n]); ok {
				s = rest + redacted
				break
			}
		}
	}
	return s
}
