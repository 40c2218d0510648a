# The commands people use. `make demo` shows the system, `make test` proves it; CI runs the same targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
# A toolchain that rustup has just installed is not on this shell's path yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

VIDEO ?=
DATA ?= data/demo
PART ?=
TARGET ?=
TIME ?= 24h
ARGS ?=
NGINX ?= nginx

.PHONY: help demo load dist test check fix lab-anycast bench bench-edge bench-purge bench-dns load-report soak fuzz web needs needs-test

help:
	@echo "make demo          build everything and run it here: a video plays (VIDEO=file for your own)"
	@echo "make load          viewers on the running demo, and a page that tells how it was for them"
	@echo "make dist          the programs as they are installed on nodes, in target/dist"
	@echo "make test          build everything and prove it, browser and whole-system tests included"
	@echo "make check         format, lints, structure, generated documents"
	@echo "make fix           format the code and write the generated documents"
	@echo "make lab-anycast   two PoPs, routers and clients in network namespaces with real BIRD; needs root"
	@echo "make bench         benchmarks against plain peers"
	@echo "make bench-edge    the edge beside nginx, HAProxy and h2o: hits, connections, first byte, memory"
	@echo "make bench-purge   purges from the API to the last of 150 PoPs over a modelled Internet; needs root"
	@echo "make bench-dns     tidegate-geo beside gdnsd: queries per CPU second, with and without client subnets, signed"
	@echo "make load-report   the load rig beside wrk, h2load and oha; writes docs/load-figures.md (NGINX= for one with HTTP/3)"
	@echo "make soak          mixed traffic on the edge for TIME (24h); fails when its memory grows"
	@echo "make fuzz          every parser for 60 s each, two on a core; PART=edge TARGET=h1_head TIME=600 for one, longer"

# -- what users run

demo: needs web
	cargo build --release --locked --workspace --bins
	exec target/release/tidegate dev up --data $(DATA) --web-root origin/web/dist $(if $(VIDEO),--video "$(VIDEO)")

load:
	deploy/build/load.sh $(DATA)

dist: needs web
	cargo build --profile dist --locked --workspace --bins

# -- what developers run

test: needs-test web
	deploy/build/test.sh

check:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy
	cargo xtask docs --check
	deploy/build/units.sh

fix:
	cargo fmt --all
	cargo xtask docs

lab-anycast: needs-test
	cargo test --locked -p tidegate-edge --test anycast

bench:
	deploy/build/needs.sh bench
	deploy/build/bench.sh

bench-edge:
	deploy/build/needs.sh bench
	cargo build --profile dist --locked -p tidegate-edge -p tidegate-bench --bins
	target/dist/tidegate-bench $(ARGS)

bench-purge:
	cargo build --release --locked -p tidegate-control -p tidegate-purge-lab -p tidegate-wan --bins
	target/release/tidegate-bench-purge run --out docs/purge-figures.md $(ARGS)

bench-dns:
	deploy/build/needs.sh bench
	cargo build --release --locked -p tidegate-geo --bins
	node deploy/bench/dns/figures.mjs target/release $(ARGS)

load-report:
	deploy/build/needs.sh bench
	cargo build --release --locked -p tidegate-load
	test -x target/tools/bin/oha || cargo install --quiet --locked --root target/tools --version 1.16.0 oha || echo "without oha: it cannot be built here"
	node deploy/bench/load/figures.mjs target/release $(NGINX) $(ARGS)

soak:
	cargo build --release --locked -p tidegate-edge -p tidegate-bench --bins
	target/release/tidegate-bench --soak $(TIME)

fuzz: TIME = 60
fuzz:
	deploy/build/fuzz.sh $(TIME) "$(PART)" "$(TARGET)"

# -- what both need

needs:
	deploy/build/needs.sh build

needs-test:
	deploy/build/needs.sh test

web: origin/web/dist/index.html

origin/web/dist/index.html: origin/web/package-lock.json origin/web/build.mjs $(wildcard origin/web/src/*)
	cd origin/web && npm ci --silent && npm run --silent build
