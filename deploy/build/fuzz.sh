#!/usr/bin/env bash
# Fuzzes every parser for SECONDS each (first argument, 60), two on a core; fails when one crashes, hangs or grows.
# PART and TARGET (arguments 2 and 3) choose one. With SEED in the environment the same inputs come in the same order, so
# that the gate answers for the commit and not for its luck. Needs only the stable toolchain: libFuzzer's counters are an
# LLVM pass that stable knows, and the code under test is safe Rust, so that panics, overflows and time are what is looked
# for. `cargo fuzz` works on the same crates where a nightly toolchain is.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60} part=${2:-} target=${3:-}
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=$PWD/target/fuzz
export CARGO_PROFILE_RELEASE_{DEBUG_ASSERTIONS,OVERFLOW_CHECKS}=true
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0
flags=(--cfg fuzzing -Cpasses=sancov-module)
for pass in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$pass")
done
# Not for build scripts and macros, which `--target` leaves out.
export RUSTFLAGS="${flags[*]}"

# The versions that the programs have; what only fuzzing needs is added to the copy.
cp Cargo.lock fuzz/Cargo.lock
# All at once, so that what they have in common is built once.
chosen=() crates=()
for manifest in ${part:-*}/fuzz/Cargo.toml; do
  crates+=("${manifest%/Cargo.toml}")
  chosen+=(-p "$(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1)")
done
cargo build --release --quiet --target "$host" --manifest-path fuzz/Cargo.toml "${chosen[@]}" ${target:+--bin "$target"}

targets=()
for fuzz in "${crates[@]}"; do
  for file in "$fuzz"/fuzz_targets/${target:-*}.rs; do
    [ ! -e "$file" ] || targets+=("$fuzz $(basename "$file" .rs)")
  done
done

one() {
  fuzz=$1 name=$2
  corpus=$CARGO_TARGET_DIR/corpus/$name crashes=$CARGO_TARGET_DIR/crashes/
  mkdir -p "$corpus" "$crashes"
  # What is kept in the repository is read, what is found goes to the first folder.
  seeds=() ; [ ! -d "$fuzz/seeds/$name" ] || seeds=("$fuzz/seeds/$name")
  if output=$("$CARGO_TARGET_DIR/$host/release/$name" -max_total_time="$seconds" -seed="${SEED:-0}" \
      -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$crashes$name-" -print_final_stats=1 "$corpus" "${seeds[@]}" 2>&1); then
      printf 'fuzz %s/%s: %s runs, no fault\n' "$fuzz" "$name" \
          "$(sed -n 's/^stat::number_of_executed_units: *//p' <<<"$output")"
  else
      tail -n 40 <<<"$output"
      printf 'fuzz %s/%s: FAULT, the input is in %s\n' "$fuzz" "$name" "$crashes"
      return 1
  fi
}
export -f one
export seconds host
printf '%s\n' "${targets[@]}" | xargs -P "$((2 * $(nproc)))" -L 1 bash -c 'one "$@"' fuzz
