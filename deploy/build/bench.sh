#!/usr/bin/env bash
# Benchmarks against plain peers, each comparison within one run. Prints; changes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

printf '\n== edge: what a piece of a hit costs\n'
cargo bench --locked -p tidegate-edge

printf '\n== edge against nginx: server CPU per hit over TLS\n'
cargo build --profile dist --locked -p tidegate-edge -p tidegate-bench --bins
target/dist/tidegate-bench "$@"

printf '\n== packager against the ffmpeg command: CPU of the same ladder\n'
cargo bench --locked -p tidegate-packager --bench transcode
