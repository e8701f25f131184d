package pairs

import (
	"encoding/json"
	"net"
	"strconv"
)

// Nobody is the host of whom an engine of SGLang's does not meet: it answers alone. Source:
// python/sglang/srt/disaggregation/utils.py, FAKE_BOOTSTRAP_HOST.
const Nobody = "2.2.2.2"

// MeetingHeader has the half of a canary that goes to another worker: when the two engines do not
// meet, it fails there as well, and is no sign that the one that prefills is sick.
const MeetingHeader = "X-Dynmesh-Meeting"

// ServerPaths are where SGLang tells how it was started, in newer and in older versions.
func ServerPaths() []string { return []string{"/server_info", "/get_server_info"} }

// MeetingPort is where an engine of SGLang's that prefills is met by those that decode, by its
// answer at one of ServerPaths. Not ok: it is none.
func MeetingPort(answer []byte) (port int, ok bool) {
	var said struct {
		Mode string `json:"disaggregation_mode"`
		Port int    `json:"disaggregation_bootstrap_port"`
	}
	ok = json.Unmarshal(answer, &said) == nil && said.Mode == "prefill" && said.Port > 0 && said.Port < 1<<16
	return said.Port, ok
}

// Meeting is what a router of SGLang's asks both engines at once, and who reads the prompt: they
// meet at host and port, in a room that no other request has. Source: sgl-model-gateway,
// src/routers/http/pd_router.rs and pd_types.rs, where rooms have 63 bits; to the engines room 0 is
// none.
func Meeting(model string, nonce uint64, host string, port int) (request []byte, by Peer) {
	request = encode(struct {
		body
		Host string `json:"bootstrap_host"`
		Port int    `json:"bootstrap_port"`
		Room uint64 `json:"bootstrap_room"`
	}{body{Model: model, Prompt: prompt(nonce), MaxTokens: 2}, host, port, nonce>>1 | 1})
	return request, Peer{Addr: net.JoinHostPort(host, strconv.Itoa(port))}
}
