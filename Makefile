# Needs Rust (rustup takes the version from rust-toolchain.toml), Go, Python, gcc and make. Everything else is installed
# by the targets themselves, pinned, into a cache outside of the clone: $SERIN_TESTBED_CACHE or ~/.cache/serin-testbed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:

CACHE := $(or $(SERIN_TESTBED_CACHE),$(HOME)/.cache/serin-testbed)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools-cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(CACHE)/tools-cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
TESTBED := cargo run --locked --quiet --package serin-testbed --

# Runs one stage, and says how long it took. Separate commands by ; so that each one that fails ends it.
stage = @echo "=== $@"; SECONDS=0; $(1); echo "=== $@: $$SECONDS s"

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: format lint documentation dependencies components tests worlds ## Everything that a change must pass, cheapest first

.PHONY: format
format: ## Is everything formatted?
	$(call stage,cargo fmt --all --check)

.PHONY: lint
lint: ## Clippy, without a warning
	$(call stage,cargo clippy --locked --workspace --all-targets -- -D warnings)

.PHONY: documentation
documentation: ## rustdoc, without a warning
	$(call stage,RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet)

.PHONY: dependencies
dependencies: $(CARGO_DENY) ## Licences, banned and doubled crates, sources
	$(call stage,$(CARGO_DENY) --locked check bans licenses sources)

.PHONY: advisories
advisories: $(CARGO_DENY) ## Known vulnerabilities; fetches their database
	$(call stage,$(CARGO_DENY) --locked check advisories)

.PHONY: components
components: ## Build what the testbed is made of, where it is missing
	$(call stage,tests/testbed/build > /dev/null)

.PHONY: tests
tests: components ## Every test, the scenarios on the testbed too
	$(call stage,cargo test --locked --workspace)

.PHONY: unit
unit: ## Only the tests that need nothing around them
	$(call stage,cargo test --locked --lib)

# How many random worlds, and how many seconds they may take: CI runs as many as it has time for.
WORLDS := 5000
WORLDS_SECONDS := 600
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
SIMULATOR = target/static/$(HOST)/worlds/serin

# They run in the static binary that tests/static_binary.rs tests, built by the same command, so that it is built once.
.PHONY: worlds
worlds: ## Simulated worlds: random ones, and every crash point of every story
	$(call stage,RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --quiet --package serin --bin serin \
		--profile worlds --target $(HOST) --target-dir target/static; \
		$(SIMULATOR) sim --crash-points; $(SIMULATOR) sim --count $(WORLDS) --within $(WORLDS_SECONDS))

.PHONY: scenarios
scenarios: components ## Only the scenarios: a real API server, real traffic
	$(call stage,cargo test --locked --test scenarios)

.PHONY: demo
demo: components ## See it: a rollout on the testbed, with real traffic
	@cargo build --locked --quiet --package serin && $(TESTBED) demo

.PHONY: testbed
testbed: components ## Leave a testbed running, for work by hand
	@cargo build --locked --quiet --package serin && $(TESTBED) up

.PHONY: fuzz
fuzz: $(CARGO_FUZZ) ## Fuzz one of fuzz/fuzz_targets: make fuzz TARGET=objects SECONDS=600
	@mkdir -p $(CACHE)/fuzz/$(or $(TARGET),$(error Say which of fuzz/fuzz_targets, such as TARGET=objects))
	@$(CARGO_FUZZ) run --sanitizer none $(TARGET) $(CACHE)/fuzz/$(TARGET) fuzz/corpus/$(TARGET) -- \
	  -max_total_time=$(or $(SECONDS),600) -timeout=10 -max_len=32768 -use_value_profile=1

.PHONY: bench
bench: components ## Measure what load-tests/README.md lists
	@cargo bench --locked --bench figures

.PHONY: crds
crds: ## Write crds/ anew after a change of src/api
	@cargo run --locked --quiet --package serin -- crd --directory crds

$(CARGO_FUZZ):
	cargo install --locked --quiet --root $(CACHE)/tools-cargo-fuzz-$(CARGO_FUZZ_VERSION) cargo-fuzz@$(CARGO_FUZZ_VERSION)

$(CARGO_DENY):
	cargo install --locked --quiet --root $(CACHE)/tools-cargo-deny-$(CARGO_DENY_VERSION) cargo-deny@$(CARGO_DENY_VERSION)
