package discovery

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// shown checks that a text from the registry can be shown as it is.
func shown(t *testing.T, what, s string, most int) {
	t.Helper()
	if text.Line(s, most) != s {
		t.Errorf("%s is %q: no line of %d bytes at most", what, s, most)
	}
}

// rejected checks what is said of a value that is refused.
func rejected(t *testing.T, err error) {
	t.Helper()
	if text.Line(err.Error(), 400) != err.Error() {
		t.Errorf("refused with %q: no line of 400 bytes at most", err)
	}
}

func FuzzDecodeMember(f *testing.F) {
	f.Add([]byte(`{"role":"worker","host":"a","pid":7,"version":"1","started_at":"2026-01-02T03:04:05Z","system_url":"http://a:b@c:1/x?y#z","gossip_addr":"a:1","labels":{"a":"b"}}`))
	f.Add([]byte(`{"role":null,"labels":null,"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"host":"a\u001b[31m\u202e\n","labels":{"\u0007":"\u0000"},"system_url":"http://\u0001"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := DecodeMember(7, value)
		if err != nil {
			rejected(t, err)
			return
		}
		shown(t, "the role", string(m.Role), maxRole)
		shown(t, "the host", m.Host, maxHost)
		shown(t, "the version", m.Version, maxVersion)
		shown(t, "the URL", m.SystemURL, 3*maxURL) // escapes are longer
		shown(t, "the address", m.GossipAddr, maxGossipAddr)
		shown(t, "the key", m.PublicKey, 44)
		if len(m.Labels) > maxLabels {
			t.Errorf("%d labels", len(m.Labels))
		}
		for name, value := range m.Labels {
			shown(t, "a label's name", name, maxLabelName)
			shown(t, "a label", value, maxLabelValue)
		}
	})
}

func FuzzDecodeCard(f *testing.F) {
	path := "a/b/c/1"
	f.Add(path, []byte(`{"type":"Model","namespace":"a","component":"b","endpoint":"c","instance_id":1,"card_json":{"display_name":"m","model_type":"chat","worker_type":"Decode","needs":[["prefill"],["x","y"]],"runtime_config":{"data_parallel_size":4},"x":["http://a:1/v1/metadata/x"]}}`))
	f.Add(path+"/lora", []byte(`{"type":"Model","namespace":"a","component":"b","endpoint":"c","instance_id":1,"card_json":{"display_name":"\u001b\u202e","needs":[[1],2,"x",[["y"]]],"x":"http://\u001b:1/v1/metadata/"}}`))
	f.Add("a/b/c", []byte(`{"card_json":[]}`))
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		c, err := DecodeCardAt(path, value)
		if err != nil {
			rejected(t, err)
			return
		}
		shown(t, "the model", c.Model, maxModel)
		shown(t, "its type", c.ModelType, maxModelType)
		shown(t, "the worker's type", c.WorkerType, maxWorkerType)
		shown(t, "the system port", c.SystemURL, maxURL)
		if c.Model == "" || len(c.Needs) > maxNeeds || c.Ranks < 0 || c.Ranks > maxRanks || c.FirstRank < 0 || c.FirstRank > maxRanks {
			t.Errorf("got %+v", c)
		}
		for _, set := range c.Needs {
			for _, needed := range set {
				shown(t, "a need", needed, maxWorkerType)
			}
		}
		if again, err := DecodeCardAt(path, value); err != nil || again.CardKey != c.CardKey {
			t.Errorf("read again: %v, %v", again.CardKey, err)
		}
	})
}

func FuzzDecodeInstanceAt(f *testing.F) {
	f.Add("a/b/c/1", []byte(`{"type":"Endpoint","namespace":"a","component":"b","endpoint":"c","instance_id":1,"transport":{"http":"http://a:1/x"}}`))
	f.Add("a/b/c/ff", []byte(`{"transport":{"tcp":{}}}`))
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		if key, err := ParseInstancePath(path); err != nil {
			rejected(t, err)
		} else if parts := strings.Split(path, "/"); len(parts) != 4 || key.Endpoint != (dynmesh.Endpoint{Namespace: parts[0], Component: parts[1], Name: parts[2]}) {
			t.Errorf("%q became %v", path, key)
		}
		i, err := DecodeInstanceAt(path, value)
		if err != nil {
			rejected(t, err)
			return
		}
		if !json.Valid(i.AppendJSON(nil)) {
			t.Errorf("its listing is no JSON: %q", i.AppendJSON(nil))
		}
	})
}
