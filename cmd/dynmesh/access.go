package main

import (
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/internal/access"
)

// registerAccess adds the settings of who may ask a process over HTTP.
func registerAccess(flags *pflag.FlagSet, cfg *access.Config) {
	register(flags,
		setting{"tls-cert", "DYN_TLS_CERT", &stringValue{target: &cfg.CertFile}, "PEM file of the certificate that HTTP is served with; none: plain; read again when it changes"},
		setting{"tls-key", "DYN_TLS_KEY", &stringValue{target: &cfg.KeyFile}, "PEM file of its key"},
		setting{"tls-client-ca", "DYN_TLS_CLIENT_CA", &stringValue{target: &cfg.ClientCAFile}, "PEM file of the authorities of which each client must have a certificate; none: clients need none"},
		setting{"api-token-file", "DYN_API_TOKEN_FILE", &stringValue{target: &cfg.TokenFile}, "file of tokens, one a line: without one nobody sees the fleet or changes anything; read again when it changes"},
		setting{"api-token-for-health", "DYN_API_TOKEN_FOR_HEALTH", &boolValue{&cfg.TokenForHealth}, "health and readiness need a token, too; liveness never does"},
		setting{"allowed-hosts", "DYN_ALLOWED_HOSTS", &listValue{target: &cfg.Hosts}, "names, besides localhost and this host's, that HTTP requests may be for; default: any, and where it listens on a loopback address those without a dot, since pages of other sites may have their names mean that"},
	)
}

// registerAskAccess adds the settings of what a command shows to a frontend.
func registerAskAccess(flags *pflag.FlagSet, cfg *access.Client) {
	register(flags,
		setting{"frontend-ca", "DYN_FRONTEND_CA", &stringValue{target: &cfg.CAFile}, "PEM file of the authorities that sign the frontend's certificate"},
		setting{"tls-cert", "DYN_TLS_CERT", &stringValue{target: &cfg.CertFile}, "PEM file of a certificate to show to it"},
		setting{"tls-key", "DYN_TLS_KEY", &stringValue{target: &cfg.KeyFile}, "PEM file of its key"},
		setting{"api-token-file", "DYN_API_TOKEN_FILE", &stringValue{target: &cfg.TokenFile}, "file whose first token is sent to it"},
	)
}
