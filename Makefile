# Two commands do everything: `make demo` shows farmlight at work, `make test` checks it.
# Both install what they need on a fresh Debian or Ubuntu.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# rustup may have been installed without its folder having come to PATH.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# How long each fuzz target runs, in seconds.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?= frame file pdu_tcp pdu_udp
# What they are seeded from: captures, and folders of captures.
FUZZ_CAPTURES ?= captures

.PHONY: help demo test check fmt clippy doc bench calibrate evaluation fuzz deps clean

## help     this list
help:
	@echo 'make TARGET, where TARGET is'
	@sed -n 's/^## /  /p' Makefile

## demo     build, analyze the captures of this repository, print the findings
demo: deps
	cargo build --release --locked
	@.ci/demo

## test     all checks and all tests
test: check
	cargo test --locked

## check    format, lints and documentation, warnings denied
check: fmt clippy doc

fmt: deps
	cargo fmt --check

clippy: deps
	cargo clippy --locked --all-targets -- -D warnings

doc: deps
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

## bench    measure the speed
bench: deps
	cargo bench --locked

## calibrate  what the numbers of the rules may be taken from (minutes)
calibrate: deps
	cargo run --release --locked -- evaluate --matrix fit --quantities

## evaluation  docs/evaluation.md anew (a quarter of an hour)
evaluation: deps
	cargo build --release --locked
	target/release/farmlight evaluate --matrix report --markdown --plot docs/evaluation.svg > docs/evaluation.md.new
	mv docs/evaluation.md.new docs/evaluation.md

# Coverage counters come from LLVM's pass, which the stable compiler has; sanitizers would need a nightly one, and
# there is no unsafe code to sanitize. What is found stays in tests/fuzz/artifacts.
# An explicit --target keeps the counters out of build scripts and macros.
FUZZ_RUSTFLAGS := --cfg fuzzing -Cpasses=sancov-module \
	-Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares

## fuzz     hostile bytes to each entry (FUZZ_SECONDS=30 each, FUZZ_TARGETS to choose)
fuzz:
	@.ci/deps c++
	cd tests/fuzz
	host=$$(rustc -vV | sed -n 's/^host: //p')
	RUSTFLAGS='$(FUZZ_RUSTFLAGS)' cargo build --release --target "$$host" --bin seeds $(FUZZ_TARGETS:%=--bin %)
	"target/$$host/release/seeds" corpus $(abspath $(FUZZ_CAPTURES))
	for target in $(FUZZ_TARGETS); do
		echo "== $$target, $(FUZZ_SECONDS) s"
		mkdir -p "corpus/$$target" "artifacts/$$target"
		seeds=$$([[ $$target == file ]] && echo $(abspath $(FUZZ_CAPTURES)) || true)
		"target/$$host/release/$$target" -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
			-print_final_stats=1 -artifact_prefix="artifacts/$$target/" "corpus/$$target" $$seeds 2>&1 |
			grep -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD|pulse)|NEW_FUNC|WARNING: Failed|# Uses:|dictionary\. ##'
	done

## deps     install what the build needs, or say what is missing
deps:
	@.ci/deps

## clean    remove what was built
clean:
	cargo clean
	rm -rf tests/fuzz/target

.ONESHELL:
