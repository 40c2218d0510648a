#!/usr/bin/env bash
# A short run of the load rig on the demo that runs here, with a page that tells how it went. DATA is the demo's folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

data=${1:-data/demo}
[ -f "$data/ready.json" ] || { echo "load.sh: no demo runs in $data; start one with \`make demo\` in another terminal" >&2; exit 2; }
# All programs, so that what `make demo` has built counts.
cargo build --release --locked --workspace --bins
read -r target ca < <(node -e '
  const ready = JSON.parse(require("fs").readFileSync(process.argv[1]));
  const edge = ready.pops.find((pop) => pop.role === "edge");
  console.log(`https://${edge.authority}${ready.hls_path} ${ready.ca_cert}`);' "$data/ready.json")
target/release/tidegate-load run steady --var "target=$target" --ca "$ca" --rate 2 --duration 20s \
  --protocol h1=1,h2=1,h3=1 --json "$data/load.json" --html "$data/load.html" && status=0 || status=$?
echo "the report: $data/load.html"
exit "$status"
