package traffic

import "context"

// Client is the connection that requests come by.
type Client interface {
	// Count has the connection count as blocked whenever the request's client is slow to read.
	// Nil ends it.
	Count(*Request)
}

type clientKey struct{}

// WithClient lets those who answer find the connection.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientOf returns nil where there is none.
func ClientOf(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}
