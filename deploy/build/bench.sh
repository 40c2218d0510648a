#!/usr/bin/env bash
# Benchmarks against plain peers, each comparison within one run. Prints; changes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked --workspace --bins

printf '\n== edge: what a piece of a hit costs\n'
cargo bench --locked -p tidegate-edge

printf '\n== edge against nginx: server CPU per hit over TLS\n'
target/release/tidegate-bench "$@"

printf '\n== packager against the ffmpeg command: CPU of the same ladder\n'
cargo bench --locked -p tidegate-packager --bench transcode
