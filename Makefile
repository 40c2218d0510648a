# The commands people use. `make demo` shows the system, `make test` proves it; CI runs the same targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
# A toolchain that rustup has just installed is not on this shell's path yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

VIDEO ?=
DATA ?= data/demo
PART ?= contract
TARGET ?= frame
TIME ?= 24h
ARGS ?=

.PHONY: help demo build test check fix bench bench-edge soak fuzz web needs needs-test

help:
	@echo "make demo          build everything and run it here: a video plays (VIDEO=file for your own)"
	@echo "make test          build everything and prove it, browser and whole-system tests included"
	@echo "make check         format, lints, structure, generated documents"
	@echo "make fix           format the code and write the generated documents"
	@echo "make bench         benchmarks against plain peers"
	@echo "make bench-edge    the edge beside nginx, HAProxy and h2o: hits, connections, first byte, memory"
	@echo "make soak          mixed traffic on the edge for TIME (24h); fails when its memory grows"
	@echo "make fuzz PART=contract|edge|loadtest|packager TARGET=… fuzzes a parser (needs cargo-fuzz and a nightly toolchain)"

# -- what users run

demo: needs web
	cargo build --release --locked --workspace --bins
	exec target/release/tidegate dev up --data $(DATA) --web-root origin/web/dist $(if $(VIDEO),--video "$(VIDEO)")

build: needs web
	cargo build --release --locked --workspace --bins

# -- what developers run

test: needs-test web
	deploy/build/test.sh

check:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy
	cargo xtask docs --check

fix:
	cargo fmt --all
	cargo xtask docs

bench:
	deploy/build/needs.sh bench
	deploy/build/bench.sh

bench-edge:
	deploy/build/needs.sh bench
	cargo build --release --locked -p tidegate-edge -p tidegate-bench --bins
	target/release/tidegate-bench $(ARGS)

soak:
	cargo build --release --locked -p tidegate-edge -p tidegate-bench --bins
	target/release/tidegate-bench --soak $(TIME)

fuzz:
	cargo +nightly fuzz run --fuzz-dir $(PART)/fuzz $(TARGET)

# -- what both need

needs:
	deploy/build/needs.sh build

needs-test:
	deploy/build/needs.sh test

web: origin/web/dist/index.html

origin/web/dist/index.html: origin/web/package-lock.json origin/web/build.mjs $(wildcard origin/web/src/*)
	cd origin/web && npm ci --silent && npm run --silent build
