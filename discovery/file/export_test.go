package file

// Escape is escape.
func Escape(key string) string { return escape(key) }
