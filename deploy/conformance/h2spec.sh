#!/usr/bin/env bash
# Runs h2spec in strict mode against tidegate-edge: 147 checks of RFC 9113 and RFC 7541.
#   deploy/conformance/h2spec.sh [H2SPEC] [EDGE]
# H2SPEC is the program (github.com/summerwind/h2spec).
set -euo pipefail
cd "$(dirname "$0")/../.."
h2spec=${1:-h2spec} edge=${2:-target/release/tidegate-edge}
dir=$(mktemp -d)
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$dir"' EXIT
pids=()

printf 'hello' > "$dir/index.html"
python3 -m http.server --bind 127.0.0.1 --directory "$dir" 0 > "$dir/origin.log" 2>&1 &
pids+=($!)
"$edge" serve --origin "http://127.0.0.1:1" --https 127.0.0.1:0 --self-signed --print-config > /dev/null
until origin=$(grep -oE 'port [0-9]+' "$dir/origin.log" | cut -d' ' -f2) && [ -n "$origin" ]; do
  kill -0 "${pids[0]}"
done
"$edge" serve --origin "http://127.0.0.1:$origin" --http 127.0.0.1:0 --https 127.0.0.1:0 --self-signed \
  --set "process.ready_file=\"$dir/ready.json\"" --set 'process.log_level="warn"' --set access_log=false \
  --set listen.limits.malformed_requests_max=1000 &
pids+=($!)
until [ -s "$dir/ready.json" ]; do kill -0 "${pids[1]}"; sleep 0.1; done
port=$(grep -oE '"https": *"127.0.0.1:[0-9]+' "$dir/ready.json" | grep -oE '[0-9]+$')
"$h2spec" --strict --tls --insecure --host 127.0.0.1 --port "$port" --timeout 5
