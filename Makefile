# restartilka: what people and CI build, try and test it with. `make` alone
# prints the list; a target's words in it are the ones after "##".

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

GO ?= go
VERSION ?= 0.1.0-dev
COMMIT ?= $(shell c=$$(git rev-parse --short=12 HEAD 2>/dev/null) && { git diff --quiet HEAD && echo $$c || echo $$c-dirty; })
FUZZTIME ?= 10s
ARGS ?=

# The binaries are linked without C; lint and the quick tests share their
# compiled packages. Only the race detector needs it.
export CGO_ENABLED := 0

MODULE := github.com/restartilka/restartilka
LDFLAGS := -s -w -X $(MODULE)/internal/version.version=$(VERSION) -X $(MODULE)/internal/version.commit=$(COMMIT)
# The version is pinned and stands beside go.mod, not in it: a linter's modules
# are not ours.
LINT_VERSION := v2.15.0
# The packages that the tests install on the fleet's hosts, built once for all.
PACKAGES := $(CURDIR)/.cache/test-packages
# The race detector watches our code and the driver, not the C of SQLite that was
# translated to Go below them: there it would find nothing of ours, at half the
# tests' time. And no program sleeps for a second before it ends, as it makes them.
# The browser, which takes a core of its own, begins first, beside the packages
# that compute; the whole programs and the fleet, which mind the time, come last.
# Lint has vetted the code: go test need not vet it again. A simulated history
# has one thread: the race detector would find nothing there.
UNWATCHED := modernc.org/sqlite/lib modernc.org/libc modernc.org/memory github.com/klauspost/compress/zstd
RACE := -race $(UNWATCHED:%=-gcflags=%=-race=false)
LINT := .cache/bin/golangci-lint-$(LINT_VERSION)

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/restartilka and bin/restartilka-agent
	$(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/restartilka ./cmd/restartilka-agent

.PHONY: demo
demo: build ## see it work: a server, three agents, one sequential restart; no root (ARGS=--once to leave afterwards)
	@bin/restartilka demo $(ARGS)

.PHONY: check
check: ## the quick tests, without the whole programs and the browser: no root, no network, under a minute
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) test -short $$($(GO) list ./... | grep -v -e /test/e2e -e /test/browser -e /test/fleet -e /test/monitoring -e /test/security -e /test/dumps -e /test/trail -e /test/called -e /bench)

.PHONY: test
test: deps build lint ## everything, after installing what it needs: lint, all tests with the race detector, 60,000 simulated histories
	@rm -rf $(PACKAGES) && VERSION='$(VERSION)' COMMIT='$(COMMIT)' packaging/build.sh --arch $$($(GO) env GOARCH) --out $(PACKAGES)
	RESTARTILKA_PACKAGES=$(PACKAGES) RESTARTILKA_PROGRAMS=$(CURDIR)/bin CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 $(GO) test $(RACE) -vet=off -p 3 -count=1 -timeout 25m $$($(GO) list ./test/browser ./internal/... ./... | grep -v -e /test/mutants -e /test/simulation)
	$(GO) test -p 2 -count=1 -timeout 20m -v -run 'TestHistories|TestASeedReplays|TestMutants|TestAnyCrash' ./test/simulation ./test/mutants ./internal/agent/spool

.PHONY: deps
deps: ## install the Debian packages that the tests need; asks first at a terminal
	@scripts/deps.sh
	@scripts/syslog-ng.sh

.PHONY: lint
lint: $(LINT) ## golangci-lint over the Go code, shellcheck over the scripts
	$(LINT) run ./...
	shellcheck .ci/run scripts/*.sh packaging/build.sh packaging/agent/missing packaging/agent/*.init
	shellcheck -s bash packaging/agent/*.bash-completion
	shellcheck -s sh packaging/*/deb/* packaging/*/rpm/* packaging/*/include/*

$(LINT):
	@echo "building golangci-lint $(LINT_VERSION), a minute or two the first time"
	@mkdir -p $(@D)
	GOFLAGS= GOBIN=$(CURDIR)/$(@D)/new $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(@D)/new/golangci-lint $@ && rmdir $(@D)/new

.PHONY: deb
deb: ## build the Debian packages for amd64 and arm64, in dist/: the same tree, the same bytes
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' packaging/build.sh --format deb

.PHONY: rpm
rpm: ## the same as rpm packages
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' packaging/build.sh --format rpm

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: fmt
fmt: ## format the Go code
	gofmt -w .

.PHONY: clean
clean: ## delete what make has made
	rm -rf bin dist .cache

.PHONY: bench
bench: ## measure the speed and write bench/results.json, in a few minutes (ARGS="--only NAME" for one figure)
	@$(GO) run ./bench $(ARGS)

.PHONY: screenshots
screenshots: ## take a picture of every page, in both themes and two widths, for docs/images
	@rm -f docs/images/*-1280-*.png docs/images/*-390-*.png
	RESTARTILKA_SCREENSHOTS=$(CURDIR)/docs/images $(GO) test -count=1 -run TestPagesAreAccessible ./test/browser

# Kinds and moments come from the seed; 0 draws a new one.
N ?= 200
SEED ?= 0

.PHONY: faults
faults: ## break the real programs N times (200), count broken promises, and kill the audit trail at each of its calls; SEED=… for the same again, ARGS=--list for how, without the trail
	@$(GO) run ./test/faults --n $(N) --seed $(SEED) $(ARGS)
	$(if $(ARGS),,@$(GO) test -count=1 -timeout 1h -v ./test/trail -args -every >&2)
