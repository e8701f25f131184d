package engines

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// kindsOfCanaries: a canary asks for what a server was started for, and nobody has to say so.
func kindsOfCanaries(t *testing.T, l *llama) {
	for kind, args := range map[string][]string{
		"completions": nil,
		"embeddings":  {"--embeddings", "--pooling", "mean"},
		"rerank":      {"--embeddings", "--reranking"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := l.front(t, l.start(t, args...))
			s.becomesReady(t)
			client := newAsker()
			want := fmt.Sprintf(`dynmesh_engine_info{engine="llamacpp",kind=%q,model="tiny"} 1`, kind)
			var metrics []byte
			testkit.Eventually(t, patience, want, func() bool {
				_, metrics = get(t.Context(), client, s.status+"/metrics")
				return bytes.Contains(metrics, []byte(want))
			})
		})
	}
}
