package pairs_test

import (
	"fmt"

	"github.com/dynmesh/dynmesh/canary/pairs"
)

func ExampleScanner() {
	var s pairs.Scanner
	s.Scan([]byte(`{"prompt":"Once upon a time","kv_transfer_params":{"do_remote_prefill":true,"remote_eng`))
	s.Scan([]byte(`ine_id":"prefill-0","remote_host":"10.0.0.3","remote_port":5600}}`))
	fmt.Println(s.Peer().Engine, s.Peer().Addr)
	// Output: prefill-0 10.0.0.3:5600
}

func ExampleParseSample() {
	s, ok := pairs.ParseSample("5 of 5 whose prompt prefill-0 at 10.0.0.3:5600 read fail, 0 of 6 of others, within 30s, the last: status 500")
	fmt.Println(ok, s.Peer.Name(), s.Of, s.Others)
	// Output: true prefill-0 5 of 5 0 of 6
}
