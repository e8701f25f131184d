# `make` lists what can be asked for. Go, make and git are all that is needed; tools are compiled from the versions here.

GOTESTSUM    := gotest.tools/gotestsum@v1.13.0
GOLANGCILINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# make test PKG=./discovery/... TESTFLAGS='-run Watch -count=20'; make run ARGS='--workers 5'; make fuzz FUZZTIME=5m
PKG       ?= ./...
TESTFLAGS ?=
ARGS      ?=
FUZZTIME  ?= 30s

# The race detector needs cgo, which Go switches off where it finds no C compiler.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && echo -race)

.DEFAULT_GOAL := help
.PHONY: help run build test e2e bench lint fmt fuzz clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Ctrl-C reaches dynmesh, which stops in order and exits 0; make waits for it and then ends by the same signal, as make
# does. Any other end of dynmesh is make's error.
run: build ## Start an etcd, a frontend and three workers on this machine; Ctrl-C stops them
	@exec bin/dynmesh up $(ARGS)

build: ## Compile bin/dynmesh
	go build -o bin/dynmesh ./cmd/dynmesh

test: ## Run all tests that need nothing but Go, with the race detector; says what it leaves out
	@$(if $(RACE),,echo 'make test: no C compiler (go env CGO_ENABLED is not 1), so the race detector is LEFT OUT')
	go run $(GOTESTSUM) --format pkgname --format-hide-empty-pkg -- $(RACE) -timeout 10m $(TESTFLAGS) $(PKG)

# More at once than there are cores: the scenarios mostly wait.
e2e: ## Run the scenarios: real processes, real etcd, real faults; in docker where an engine answers
	DYNMESH_E2E=1 go test -v -count=1 -timeout 15m -parallel 4 -run '^TestScenarios$$' $(TESTFLAGS) ./e2e

bench: ## Measure the figures of docs/benchmarks.md, then run the Go benchmarks
	DYNMESH_BENCH=1 go test -count=1 -run '^TestFigures$$' -v -timeout 60m ./e2e/figures
	go test -run '^$$' -bench . -benchmem $(PKG)

lint: ## Check formatting, vet, go.mod and the linters of .golangci.yml; goes through all of them
	@failed=; check() { echo "== $$*"; "$$@" || failed=1; }; \
	formatted() { list=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		[ -z "$$list" ] || { echo "make fmt would change:"; echo "$$list"; return 1; }; }; \
	check formatted; \
	check go vet ./...; \
	check go mod tidy -diff; \
	check go run $(GOLANGCILINT) run ./...; \
	[ -z "$$failed" ]

fmt: ## Format all Go files
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

fuzz: ## Run each fuzz test for FUZZTIME (30s), one after another
	@grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$name in $$(dirname "$$file"), $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null || exit 1; \
		done || exit 1; \
	done

clean: ## Remove what these targets made in this folder, and the images of the scenarios
	rm -rf bin
	@command -v docker >/dev/null && docker image prune -af --filter label=dynmesh.e2e >/dev/null 2>&1 || true
