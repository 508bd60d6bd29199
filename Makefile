# make alone says what there is.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GOLANGCI_LINT_VERSION := 2.15.0
DURATION              ?= 10m

# A golangci-lint of the right version on PATH is used, else one is built into bin.
lint_found := $(shell command -v golangci-lint 2>/dev/null)
ifneq ($(lint_found),)
lint_there := $(shell $(lint_found) version --short 2>/dev/null)
endif
ifeq ($(patsubst v%,%,$(lint_there)),$(GOLANGCI_LINT_VERSION))
golangci_lint := $(lint_found)
else
golangci_lint := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
endif

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps ## show and check the whole promise on servers of its own, within a minute
	go run ./cmd/patchlane demo

.PHONY: dev
dev: deps ## run Postgres, Redis, API and worker on this machine; data is kept in ./data
	go run ./cmd/patchlane dev --data data

.PHONY: test
test: deps-test ## vet, and every test with the race detector on real servers
	go vet ./...
	go vet -tags faults ./...
	go vet -tags nofence ./...
	cd cmd/peerbench && go vet ./... && go test ./...
	cd deploy/check && go vet ./... && go test ./...
	@mkdir -p bin
	@echo 'go test -race ./...   (all of it: bin/test.log)'
	@go test -race -v -timeout 20m ./... 2>&1 | tee bin/test.log | awk -f .ci/tests.awk

.PHONY: race
race: deps ## let 10,000 opt-outs meet writes that give somebody their number, for some minutes
	RACE_ROUNDS=10000 go test -count=1 -v -timeout 30m -run '^TestStopAgainstANewNumber$$' ./store

.PHONY: faults
faults: deps ## every fault of the suite, one after the other; ends with a table (bin/faults.md)
	@mkdir -p bin
	PATCHLANE_FAULTS=all PATCHLANE_FAULTS_TABLE=$(CURDIR)/bin/faults.md \
		go test -count=1 -v -timeout 60m -run '^(TestFaults|TestWithoutFence|TestTwoAtOnce)$$' ./cmd/patchlane/faults 2>&1 \
		| tee bin/faults.log | awk -f .ci/tests.awk
	@cat bin/faults.md

DURATION ?= 10m

.PHONY: soak
soak: deps ## random faults at full load for DURATION=10m (or 1h)
	@mkdir -p bin
	PATCHLANE_SOAK=$(DURATION) go test -count=1 -v -timeout 0 -run '^TestSoak$$' ./cmd/patchlane/faults 2>&1 \
		| tee bin/soak.log | grep --line-buffered -v '^=== '

.PHONY: drill
drill: deps-test ## make a real fault for every alert, see it fire and clear; some minutes
	go test -count=1 -v -timeout 30m -run '^TestDrill$$' ./cmd/patchlane -args -drill

.PHONY: pictures
pictures: deps-test ## draw the dashboards of a stack under load into deploy/grafana; some minutes
	go test -count=1 -v -timeout 30m -run '^TestDashboards$$' ./cmd/patchlane -args -pictures 2m

.PHONY: lint
lint: $(golangci_lint) ## linters, formatting, and a tidy go.mod
	$(golangci_lint) run ./...
	go mod tidy -diff
	cd cmd/peerbench && go mod tidy -diff
	cd deploy/check && go mod tidy -diff

.PHONY: fmt
fmt: $(golangci_lint) ## format the code
	$(golangci_lint) fmt ./...

.PHONY: bench
bench: deps ## run the Go benchmarks
	go test -run '^$$' -bench . -benchmem -timeout 30m $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)

.PHONY: replay
replay: deps ## retry 25,000 failed writes from the command line and the console
	go test ./cmd/patchlane -run '^$$' -bench BenchmarkReplay -benchtime 1x -timeout 30m

.PHONY: bench-peers
bench-peers: deps ## measure patchlane against asynq, River, BullMQ, graphile-worker and plain transactions
	cd cmd/peerbench && go run . --chart peers.png --markdown peers.md

# No answer may be a 5xx but 503, nothing of the ordinary clients beside it may
# be lost, and memory has to stay flat.
.PHONY: abuse
abuse: deps ## fire bad requests at a running stack: make abuse DURATION=10m
	PATCHLANE_FAULTS=all PATCHLANE_ABUSE=$(DURATION) go test -count=1 -timeout 24h -v -run 'TestFaults/each/17_fuzzing' ./cmd/patchlane/faults

FUZZTIME ?= 5s
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME, beyond the corpora that every test run uses
	@.ci/fuzz $(FUZZTIME)

.PHONY: build
build: ## build bin/patchlane
	CGO_ENABLED=0 go build -trimpath -o bin/patchlane ./cmd/patchlane

.PHONY: deps
deps: # install Postgres and Redis where they are missing
	@deploy/deps.sh

.PHONY: deps-test
deps-test: # and the browser and the Prometheus of the tests
	@deploy/deps.sh test

bin/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION)
	mv bin/golangci-lint $@
