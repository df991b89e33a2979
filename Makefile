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

HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Builds the simulator into the folder $(1) of target/, with the flags $(2) for the compiler.
simulator = RUSTFLAGS="-C target-feature=+crt-static $(2)" cargo build --locked --quiet --package serin --bin serin \
  --profile worlds --target $(HOST) --target-dir target/$(1)
built = target/$(1)/$(HOST)/worlds/serin

# They run in the static binary that tests/static_binary.rs tests, built by the same command, so that it is built once.
WORLDS := 5000
.PHONY: worlds
worlds: ## Simulated worlds: random ones, and every crash point of every story
	$(call stage,$(call simulator,static); \
		$(call built,static) sim --crash-points; $(call built,static) sim --count $(WORLDS))

# A campaign runs in a binary that the compiler laid out by a recording of worlds (profile-guided optimisation): it simulates
# a third more of them in the same time. Without a recording, because its tool can't be had, it only gets less far.
CAMPAIGN := 100000
CAMPAIGN_SECONDS := 600
RECORDING := target/recorded/worlds.profdata
# In one codegen unit, so that every function is laid out where it was recorded.
campaign $(RECORDING): export CARGO_PROFILE_WORLDS_CODEGEN_UNITS := 1
.PHONY: campaign
campaign: ## A hundred thousand random worlds, or as many as can begin in ten minutes
	-@rustup component add llvm-tools && $(MAKE) --no-print-directory $(RECORDING)
	$(call stage,$(call simulator,optimised,$$(ls $(RECORDING) | sed 's:^:-C profile-use=$(CURDIR)/:')); \
		$(call built,optimised) sim --count $(CAMPAIGN) --within $(CAMPAIGN_SECONDS))

# What costs time is mostly the code of the dependencies, so a recording is good for as long as these stay, and the compiler.
$(RECORDING): Cargo.lock rust-toolchain.toml
	@rm -rf target/recorded/raw
	$(call stage,$(call simulator,recorded,-C profile-generate=$(CURDIR)/target/recorded/raw); \
		$(call built,recorded) sim --count 400; \
		$$(rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata merge -o $@ target/recorded/raw)

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
