package arrival_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/arrival"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Who reads late learns when it came.
func TestLateReader(t *testing.T) {
	sent := make(chan time.Time, 1)
	url := testkit.RawServer(t, func(c *net.TCPConn, _ string) {
		_, _ = c.Write([]byte("x"))
		sent <- time.Now()
		testkit.UntilGone(c)
	})
	raw, err := net.Dial("tcp", url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	at := <-sent
	const late = 300 * time.Millisecond
	<-time.After(late)
	var noted time.Time
	c := arrival.NewConn(raw, func(at time.Time) { noted = at })
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	read := time.Now()
	if noted.After(read) {
		t.Errorf("it arrived %v after it was read", noted.Sub(read))
	}
	if runtime.GOOS == "linux" && noted.Sub(at) > late/2 {
		t.Errorf("it arrived %v after it was sent, and was read after %v", noted.Sub(at), read.Sub(at))
	}
}
