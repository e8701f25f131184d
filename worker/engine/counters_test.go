package engine

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dynmesh/dynmesh/internal/sse"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestCounters(t *testing.T) {
	for _, tt := range []struct {
		name, engine, text string
		want               Totals
	}{
		// vLLM's own form, two engine cores, and a neighbour whose name begins the same.
		{"vllm", "vllm", `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.234567e+06
vllm:generation_tokens_total{engine="0",model_name="m"} 1.5e+03
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 10.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 5.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 3.0
vllm:request_success_total{engine="0",finished_reason="error",model_name="m"} 1.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="m"} 900.0
vllm:inter_token_latency_seconds_count{engine="0",model_name="m"} 1400.0
vllm:inter_token_latency_seconds_sum{engine="0",model_name="m"} 28.5
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 15.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 3.25
`, Totals{InFlight: 7, Tokens: 1500, Completed: 15, Aborted: 3, Failed: 1,
			TokenCount: 1400, TokenSeconds: 28.5, FirstCount: 15, FirstSeconds: 3.25, PromptTokens: 1234567}},
		{"sglang", "sglang", `sglang:num_running_reqs{model_name="m"} 162.0
sglang:num_queue_reqs{model_name="m"} 2826.0
sglang:prompt_tokens_total{model_name="m"} 8.128902e+06
sglang:generation_tokens_total{model_name="m"} 7.557572e+06
sglang:realtime_tokens_total{mode="decode",model_name="m"} 3.0
sglang:realtime_tokens_total{mode="prefill_compute",model_name="m"} 4.0
sglang:num_requests_total{model_name="m"} 9.0
sglang:num_aborted_requests_total{model_name="m"} 2.0
`, Totals{InFlight: 2988, Tokens: 7557579, Aborted: 2, PromptTokens: 8128902}},
		{"trtllm", "trtllm", `trtllm_request_success_total{model_name="m",engine_type="trtllm",finished_reason="stop"} 150.0
trtllm_request_success_total{model_name="m",engine_type="trtllm",finished_reason="cancelled"} 4.0
trtllm_request_error_total{error_type="x"} 1
trtllm_num_requests_running{model_name="m"} 3
trtllm_num_requests_waiting{model_name="m"} 1
trtllm_iteration_latency_seconds{model_name="m"} 0.015
trtllm_generation_tokens_total{model_name="m"} 7
`, Totals{InFlight: 4, Tokens: 7, Gauge: 0.015, Completed: 150, Aborted: 4, Failed: 1}},
		{"triton", "triton", `nv_inference_request_success{model="m",version="1"} 161
nv_inference_request_success{model="other",version="1"} 999
nv_inference_request_failure{model="m",reason="BACKEND",version="1"} 2
nv_inference_exec_count{model="m",version="1"} 80
nv_inference_pending_request_count{model="m",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 7
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
`, Totals{InFlight: 7, Queued: 1, Tokens: 80, Completed: 161, Failed: 2}},
		{"no labels, times, other ends of lines, no end", "vllm",
			"vllm:num_requests_running 3 1700000000000\r\nvllm:generation_tokens_total\t4", Totals{InFlight: 3, Tokens: 4}},
		{"labels with anything in them", "vllm",
			`vllm:request_success_total{a="}\"{,\\",finished_reason="st\"op\n",b="finished_reason=\"abort\""} 3
vllm:request_success_total{a="\"}",finished_reason="abort"} 4`, Totals{Completed: 3, Aborted: 4}},
		{"OpenMetrics, with exemplars", "vllm", `vllm:num_requests_running 2.0 1700000000.123
vllm:request_success_total{finished_reason="stop"} 3.0 # {trace_id="a{b} # \"c"} 1.0 1700000000.5
vllm:generation_tokens_total 4.0 # {} 1
# EOF
`, Totals{InFlight: 2, Tokens: 4, Completed: 3}},
		{"names in quotes, spaces wherever they may be", "vllm", `{"vllm:num_requests_running"} 2
{"vllm:request_success_total", finished_reason = "abort" , "a.b"="c"} 3
vllm:request_success_total { finished_reason="error", } 4
{"vllm:num_requests_running\"",a="b"} 5
{"vllm:num_requests_running
{vllm:num_requests_running} 6
{"" 7
`, Totals{InFlight: 2, Aborted: 3, Failed: 4}},
		{"values that are none", "vllm", `vllm:generation_tokens_total NaN
vllm:generation_tokens_total -1
vllm:generation_tokens_total +Inf
vllm:generation_tokens_total 1e300
vllm:generation_tokens_total
vllm:generation_tokens_total x
vllm:generation_tokens_total{a="b" 7
vllm:generation_tokens_total 5
`, Totals{Tokens: 5}},
	} {
		e, err := Find(tt.engine)
		if err != nil {
			t.Fatal(err)
		}
		x := e.Counters.Reader("m")
		for name, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.text),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.text)),
		} {
			got, err := x.Read(r)
			for q := range got.Totals {
				if math.Abs(got.Totals[q]-tt.want[q]) > 1e-9 {
					t.Errorf("%s, %s: quantity %d: got %v, want %v", tt.name, name, q, got.Totals[q], tt.want[q])
				}
			}
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, name, err)
			}
		}
	}
}

// What moves between two scrapes is a step, unless a server counts it by itself.
func TestSteps(t *testing.T) {
	const core = "vllm:num_requests_running 1\nvllm:generation_tokens_total 7\nvllm:iteration_tokens_total_count 5\n"
	for _, tt := range []struct {
		name, before, after string
		stepped, inPrefill  bool
	}{
		{"nothing", core, core, false, false},
		{"an iteration", core, strings.Replace(core, "count 5", "count 6", 1), true, false},
		{"a token", core, strings.Replace(core, "total 7", "total 8", 1), true, false},
		{"a chunk of a prompt", core + "vllm:kv_cache_usage_perc 0.25\n", core + "vllm:kv_cache_usage_perc 0.125\n", true, true},
		{"the same before 0.11", core + "vllm:gpu_cache_usage_perc 0.25\n", core + "vllm:gpu_cache_usage_perc 0.5\n", true, true},
		{"an engine that began again", core, "vllm:generation_tokens_total 0\n", true, false},
		{"what waits", core, core + "vllm:num_requests_waiting 9\n", false, false},
		{"clients that leave", core, core + "vllm:request_success_total{finished_reason=\"abort\"} 9\n", false, false},
	} {
		read := func(text string) Scrape {
			got, err := vllm().Counters.Reader("m").Read(strings.NewReader(text))
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			return got
		}
		before, after := read(tt.before), read(tt.after)
		if after.Stepped(before.Totals) != tt.stepped || before.Stepped(after.Totals) != tt.stepped || after.StepsInPrefill != tt.inPrefill {
			t.Errorf("%s: got %v, %v, in a prefill %v; want %v, and %v", tt.name, after.Stepped(before.Totals), before.Stepped(after.Totals), after.StepsInPrefill, tt.stepped, tt.inPrefill)
		}
	}
}

// The engines behind one server are told apart where there are several.
func TestRanks(t *testing.T) {
	read := func(text string) Scrape {
		got, err := vllm().Counters.Reader("m").Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one := `vllm:num_requests_running{engine="0",model_name="m"} 1
vllm:generation_tokens_total{engine="0",model_name="m"} 7
`
	if got := read(one); got.Ranks != nil {
		t.Errorf("one engine: %v, want no ranks", got.Ranks)
	}
	got := read(one + `vllm:num_requests_running{model_name="m",engine="1"} 2
vllm:num_requests_waiting{model_name="m",engine="1"} 3
vllm:num_requests_waiting{model_name="m",engine="no\nnumber"} 4
vllm:num_requests_waiting{model_name="m",engine="65536"} 5
`)
	want := map[string]Totals{"0": {InFlight: 1, Tokens: 7}, "1": {InFlight: 5}}
	if !reflect.DeepEqual(got.Ranks, want) || got.Totals != (Totals{InFlight: 15, Tokens: 7}) {
		t.Errorf("got %v, want %v, and their sum", got, want)
	}
}

func TestCountersRefused(t *testing.T) {
	x := vllm().Counters.Reader("m")
	for name, tt := range map[string]struct {
		r    io.Reader
		want error
	}{
		"nothing":               {strings.NewReader(""), errNoCounters},
		"another's":             {strings.NewReader("go_goroutines 7\n"), errNoCounters},
		"a line without end":    {testkit.Endless("x"), sse.ErrTooLong},
		"lines without end":     {testkit.Endless("vllm:x 1\n"), sse.ErrTooLong},
		"samples without end":   {testkit.Endless("vllm:generation_tokens_total 1\n"), errTooMany},
		"an end before the end": {io.MultiReader(strings.NewReader("vllm:generation_tokens_total 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	} {
		if got, err := x.Read(tt.r); !errors.Is(err, tt.want) || !reflect.DeepEqual(got, Scrape{}) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tt.want)
		}
	}
}

func FuzzCounters(f *testing.F) {
	f.Add([]byte("# TYPE a counter\nvllm:request_success_total{finished_reason=\"st\\\"op\",b=\"}\"} 1.5e3 17\nvllm:generation_tokens_total 4"))
	f.Add([]byte(`vllm:request_success_total{finished_reason="abort`))
	f.Add([]byte(`vllm:request_success_total{="} 1`))
	x := vllm().Counters.Reader("m")
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := x.Read(bytes.NewReader(text))
		slow, slowErr := x.Read(iotest.OneByteReader(bytes.NewReader(text)))
		if !reflect.DeepEqual(got, slow) || !errors.Is(slowErr, err) {
			t.Errorf("got %v, %v at once, and %v, %v byte by byte", got, err, slow, slowErr)
		}
		for q, v := range got.Totals {
			if math.IsNaN(v) || v < 0 {
				t.Errorf("quantity %d is %v", q, v)
			}
		}
	})
}

// What a scrape of vLLM costs: a thousand lines, of which ten count.
func BenchmarkCounters(b *testing.B) {
	text := strings.Repeat("vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.001\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 27.0\n", 1000) +
		strings.Repeat("vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 1\n", 10)
	x := vllm().Counters.Reader("m")
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := x.Read(strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
