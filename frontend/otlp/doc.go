// Package otlp writes changes of verdicts as OpenTelemetry's events: log records with a name, in
// the JSON of OTLP, a request a line, as OpenTelemetry's collector reads it from files
// (otlpjsonfile) and takes it over HTTP. It is for commands that export, and links nothing of
// OpenTelemetry's: the form is small and stable.
package otlp
