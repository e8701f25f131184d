package frontend

import "testing"

func TestAddress(t *testing.T) {
	for transport, want := range map[string]string{
		`{"http":"http://10.0.0.1:9000/v1/rpc/generate"}`:   "10.0.0.1:9000",
		`{"http":"http://worker.ns.svc/v1"}`:                "worker.ns.svc:80",
		`{"http":"https://worker/v1"}`:                      "worker:443",
		`{"http":"http://[fd00::1]:9000/x"}`:                "[fd00::1]:9000",
		`{"tcp":"10.0.0.1:7000/694d9b90ff8deb4b/generate"}`: "10.0.0.1:7000",
		`{"tcp":"[fd00::1]:7000/1/g"}`:                      "[fd00::1]:7000",
		`{"tcp":"worker:7000"}`:                             "worker:7000",
		`{"nats_tcp":"dynamo_backend.generate-1"}`:          "",
		`{"http_tcp":{"http":"http://h:1"}}`:                "",
		`{"http":{"url":"http://h:1"}}`:                     "",
		`{"http":"http://0.0.0.0:9000/x"}`:                  "", // has been seen; nobody can connect to it
		`{"tcp":"[::]:7000/1/g"}`:                           "",
		`{"tcp":"10.0.0.1:0/1/g"}`:                          "",
		`{"tcp":"10.0.0.1:70000/1/g"}`:                      "",
		`{"tcp":":7000/1/g"}`:                               "",
		`{"tcp":"10.0.0.1/1/g"}`:                            "",
		`{"http":"ftp://h/x"}`:                              "",
		`{"http":"http://h:x/"}`:                            "",
		`{"http":"::"}`:                                     "",
		`{"http":1}`:                                        "",
		``:                                                  "",
	} {
		if got := address([]byte(transport)); got != want {
			t.Errorf("%s: got %q, want %q", transport, got, want)
		}
	}
}
