package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Pace calls each n times, so many times a second, and returns when the last's time is over. Each
// must return at once.
func Pace(ctx context.Context, n, rate int, each func(i int)) {
	began := time.Now()
	next := time.NewTimer(0)
	defer next.Stop()
	for i := range n {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		each(i)
		next.Reset(time.Until(began.Add(time.Duration(i+1) * time.Second / time.Duration(rate))))
	}
	select {
	case <-next.C:
	case <-ctx.Done():
	}
}

// NewClient is one that waits so long for a whole answer, and sends each request over a connection
// of its own.
func NewClient(patience time.Duration) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
}

// Chat is the body of a request for a stream of eight tokens, with more fields if there are any.
func Chat(model, prompt, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"max_tokens":8,"ignore_eos":true,"stream":true%s}`, model, prompt, more)
}

// Complete sends a request to the root of an engine's routes, and reads its stream to the end.
func Complete(ctx context.Context, client *http.Client, root, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, root+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return word(client, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("its stream breaks off: %w", word(client, err))
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %.100s", resp.Status, bytes.TrimSpace(answer))
	case !bytes.Contains(answer, []byte(`"finish_reason":"`)):
		return errors.New("200, and a stream without an end")
	}
	return nil
}

// word shortens what net/http says.
func word(client *http.Client, err error) error {
	if os.IsTimeout(err) {
		return fmt.Errorf("no whole answer within %v", client.Timeout)
	}
	return err
}
