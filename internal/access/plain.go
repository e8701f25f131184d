package access

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// PlainRefusal is what a client is told that speaks plain HTTP where TLS is spoken.
const PlainRefusal = plainRefused + ": want https://"

// plainRefused is how net/http's own text begins.
const plainRefused = "Client sent an HTTP request to an HTTPS server"

// Bounds on what is still read of a client that has been told so. A connection that is closed
// before all of it is read is reset, and the client may then not see what it was told.
const (
	plainLeft    = 64 << 10 // bytes
	plainTimeout = time.Second
)

// AnswerPlain tells a client that speaks plain HTTP, and not TLS, what it is that it asks. err is
// what reading from a connection of [Access.Listener] has returned; of any other error it does
// nothing. net/http does the same where it sees the connection itself.
func AnswerPlain(err error) {
	plain, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || plain.Conn == nil {
		return
	}
	switch string(plain.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
	default:
		return
	}
	_ = plain.Conn.SetDeadline(time.Now().Add(plainTimeout))
	_, _ = io.WriteString(plain.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+PlainRefusal+"\n")
	if half, ok := plain.Conn.(interface {
		net.Conn
		CloseWrite() error
	}); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(half, plainLeft))
	}
}

// IsPlainRefusal says whether an answer's text is that of a server which speaks TLS and was asked
// in plain HTTP: this program's, or any of net/http's.
func IsPlainRefusal(text string) bool {
	return strings.HasPrefix(text, plainRefused)
}
