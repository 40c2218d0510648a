#!/usr/bin/env bash
# Installs what a build (`needs.sh build`), the tests (`test`) or the benchmarks (`bench`) need and what is not there yet, on
# Debian 12 and 13 and Ubuntu 24.04. Asks nothing; does nothing when everything is there.
set -euo pipefail

purpose=${1:?usage: needs.sh build|test|bench}
rust_min=1.94

packages=(
  build-essential ca-certificates curl pkg-config
  clang libclang-dev cmake nasm protobuf-compiler # bindgen, aws-lc, libav's headers, gRPC
  libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev
)
if [ "$purpose" != build ]; then
  # the ffmpeg command is the oracle for what was packaged; chromium plays it; xmllint reads the MPD; the load rig is
  # tried on a server that is not ours; replicas of the control plane share an etcd
  packages+=(chromium ffmpeg libxml2-utils nginx-light etcd-server)
  # what validates the answers of geo's DNS, and asks it over TLS, HTTPS and QUIC
  packages+=(bind9-dnsutils knot-dnsutils)
  # the anycast lab
  packages+=(bird2 iproute2 nftables procps)
fi
# Debian 13 has no h2o; a benchmark leaves out a peer that is not there.
optional=()
if [ "$purpose" = bench ]; then
  packages+=(haproxy nghttp2-client wrk openssl gdnsd dnsperf bind9-dnsutils)
  optional+=(h2o)
fi
# Whoever has a node of their own keeps it: Debian's npm would replace it.
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do
  # Ubuntu's chromium is a snap; any browser of that name will do
  if [ "$package" = chromium ] && command -v chromium >/dev/null; then continue; fi
  is_installed "$package" || missing+=("$package")
done

for package in "${optional[@]}"; do
  if ! is_installed "$package" && apt-cache show "$package" >/dev/null 2>&1; then missing+=("$package"); fi
done

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || {
    echo "needs.sh: no apt-get here; install by hand: ${missing[*]}" >&2
    exit 1
  }
  sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq
  for package in "${optional[@]}"; do
    ! apt-cache show "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Where rustup puts it; a shell that was open before does not look there.
PATH=$HOME/.cargo/bin:$PATH
has_rust() {
  command -v cargo >/dev/null || return 1
  local have
  have=$(rustc --version 2>/dev/null | awk '{print $2}')
  [ "$(printf '%s\n' "$rust_min" "$have" | sort -V | head -n 1)" = "$rust_min" ]
}
if ! has_rust; then
  echo "installing Rust by rustup"
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal --component clippy,rustfmt
fi

[ "$purpose" != test ] || "$(dirname "$0")/dash-schema.sh" >/dev/null
