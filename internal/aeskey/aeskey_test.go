package aeskey_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/aeskey"
)

func Example() {
	key, err := aeskey.Parse(aeskey.Generate())
	fmt.Println(len(key), err)
	// Output: 32 <nil>
}

func TestParse(t *testing.T) {
	for n := range 40 {
		text := base64.StdEncoding.EncodeToString(make([]byte, n))
		key, err := aeskey.Parse(text)
		if ok := n == 16 || n == 24 || n == 32; (err == nil) != ok || ok && len(key) != n {
			t.Errorf("%d bytes: got %v, %v", n, key, err)
		}
	}
	if _, err := aeskey.Parse("sesame!"); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("got %v, want an error without the key", err)
	}
	if first, second := aeskey.Generate(), aeskey.Generate(); first == second {
		t.Error("two keys are the same")
	}
}
