package testkit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Statuses sends bytes on a connection of HTTP, and closes it. It returns the statuses of what is
// answered until the connection ends or the time is over, or those of the first most answers.
func Statuses(t testing.TB, conn net.Conn, within time.Duration, request string, most int) (all []int) {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	for answers := bufio.NewReader(conn); len(all) < most; {
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return all
		}
		all = append(all, answer.StatusCode)
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return all
		}
	}
	return all
}
