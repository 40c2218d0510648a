#!/usr/bin/env bash
# Everything that proves the system, in the order from cheap to dear; stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "browser test tools"
(cd deploy/system-test/browser && npm ci --silent)

step "format"
cargo fmt --all -- --check

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "build"
cargo build --locked --workspace --bins

step "generated documents"
cargo xtask docs --check

step "units, stories and the whole system"
cargo test --locked --workspace

step "done"
