#!/usr/bin/env bash
# Runs published DNS tests against tidegate-geo on loopback, with a signed zone, and prints how many passed:
#   - the checks of DNS and EDNS compliance of RFC 8906, section 8, which are those of ednscomp.isc.org, asked by dig, and a
#     few of extended errors (RFC 8914), compact answers (RFC 9824) and unknown types (RFC 3597),
#   - dnsviz: EDNS compatibility and DNSSEC, every error and warning counted,
#   - delv: every kind of answer validated from the DS record down; drill: signatures chased to the zone's key,
#   - Zonemaster's modules Nameserver and DNSSEC, where it is installed and port 53 may be bound.
#   deploy/conformance/dns.sh [GEO]
# Needs bind9-dnsutils, dnsviz and ldnsutils, and takes zonemaster-cli. Exits with 1 when a check fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
geo=$(realpath "${1:-target/release/tidegate-geo}")
for tool in dig delv dnsviz drill; do
  command -v "$tool" > /dev/null || { echo "dns.sh: $tool is not installed" >&2; exit 2; }
done
dir=$(mktemp -d)
trap 'kill "${pids[@]}" 2> /dev/null || true; rm -rf "$dir"' EXIT
pids=() passed=0 failed=0

mkdir "$dir/zones"
cat > "$dir/zones/example.zone" << 'ZONE'
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 127.0.0.153
_steer.video IN TXT "alpn=h3,h2"
www IN CNAME video
*.wild IN TXT "any"
sub IN NS ns.elsewhere.test.
other-type IN TYPE65280 \# 4 0a0b0c0d
ZONE
cat > "$dir/fleet.toml" << 'FLEET'
[[pop]]
id = "ams"
latitude = 52.37
longitude = 4.90
capacity = 100.0
addresses = ["192.0.2.1", "2001:db8::1"]
FLEET
"$geo" keys --keys "$dir/keys" generate example > /dev/null
# start ADDRESS: a server there, with the same zone and keys; where it listens is in $dir/ready.json.
start() {
  rm -f "$dir/ready.json"
  "$geo" serve --set "listen.udp=[\"$1\"]" --set "listen.tcp=[\"$1\"]" --set "zones.folder=\"$dir/zones\"" \
    --set 'probe.enabled=false' --set "fleet.file=\"$dir/fleet.toml\"" --set "dnssec.keys=\"$dir/keys\"" --set 'process.log_level="warn"' \
    --set "process.ready_file=\"$dir/ready.json\"" &
  pids+=($!)
  until [ -s "$dir/ready.json" ]; do kill -0 $!; sleep 0.1; done
}
start 127.0.0.1:0
port=$(grep -oE '"udp": *"127.0.0.1:[0-9]+' "$dir/ready.json" | grep -oE '[0-9]+$')
ds=$("$geo" keys --keys "$dir/keys" ds example | sed 's/^.* IN DS //')

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED %s\n' "$1"; [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/    /'; }
# check NAME EXPECTED UNEXPECTED ARGS...: what dig says has all of EXPECTED's lines and none of UNEXPECTED's (patterns, one a line).
check() {
  local name=$1 expected=$2 unexpected=$3 said pattern
  shift 3
  said=$(dig @127.0.0.1 -p "$port" +norecurse +tries=1 +time=5 "$@" 2>&1 || true)
  while IFS= read -r pattern; do
    if [ -n "$pattern" ] && ! grep -qE -e "$pattern" <<< "$said"; then fail "$name: no $pattern" "$said"; return; fi
  done <<< "$expected"
  while IFS= read -r pattern; do
    if [ -n "$pattern" ] && grep -qE -e "$pattern" <<< "$said"; then fail "$name: $pattern" "$said"; return; fi
  done <<< "$unexpected"
  pass
}

soa='^example\.\s+[0-9]+\s+IN\s+SOA'
ok='status: NOERROR'
opt='EDNS: version: 0'
echo "== compliance, by RFC 8906"
check dns "$ok"$'\n'"$soa" 'EDNS:' +noedns +noad soa example
check aa 'flags: qr aa;' '' +noedns +noad soa example
check dnsflags "$ok"$'\n'"$soa" 'MBZ: 0x4' +noedns +zflag soa example
check ad "$ok"$'\n'"$soa" 'flags:[^;]* ad' +noedns +adflag soa example
check cd "$ok"$'\n'"$soa" '' +noedns +cdflag soa example
check ra "$ok" 'flags:[^;]* ra' +noedns +recurse soa example
check unknown-type "$ok"$'\n''ANSWER: 0' 'EDNS:' +noedns +noad type1000 example
check unknown-opcode 'status: NOTIMP' "$soa" +noedns +noad +header-only +opcode=15
check tcp "$ok"$'\n'"$soa" 'EDNS:' +noedns +noad +tcp soa example
check edns "$ok"$'\n'"$soa"$'\n'"$opt" '' +edns=0 +nocookie +noad soa example
check edns1 'status: BADVERS'$'\n'"$opt" "$soa" +edns=1 +noednsneg +nocookie +noad soa example
check edns100 'status: BADVERS'$'\n'"$opt" "$soa" +edns=100 +noednsneg +nocookie +noad soa example
check edns@512 "$ok"$'\n'"$opt" '' +dnssec +bufsize=512 +ignore +nocookie +noad dnskey example
check ednsopt "$ok"$'\n'"$soa"$'\n'"$opt" 'OPT=100' +edns=0 +ednsopt=100 +nocookie +noad soa example
check edns1opt 'status: BADVERS'$'\n'"$opt" "$soa"$'\n''OPT=100' +edns=1 +noednsneg +ednsopt=100 +nocookie +noad soa example
check do "$ok"$'\n'"$soa"$'\n'"$opt, flags: do"$'\n''RRSIG\s+SOA' '' +edns=0 +dnssec +nocookie +noad soa example
check edns1do 'status: BADVERS'$'\n'"$opt" "$soa" +edns=1 +noednsneg +dnssec +nocookie +noad soa example
check ednsflags "$ok"$'\n'"$soa"$'\n'"$opt, flags:;" 'MBZ' +edns=0 +ednsflags=0x80 +nocookie +noad soa example
check edns1flags 'status: BADVERS' "$soa"$'\n''MBZ' +edns=1 +noednsneg +ednsflags=0x80 +nocookie +noad soa example
check docookie "$ok"$'\n'"$soa"$'\n''flags: do' '' +edns=0 +dnssec +cookie +noad soa example
check optlist "$ok"$'\n'"$soa"$'\n''CLIENT-SUBNET: 0.0.0.0/0/0' '' +edns=0 +nsid +subnet=0.0.0.0/0 +expire +cookie +noad soa example
check subnet "$ok"$'\n''CLIENT-SUBNET: 198.51.100.0/24/' '' +subnet=198.51.100.0/24 +noad a video.example
check ednstcp "$ok"$'\n'"$soa"$'\n'"$opt" '' +edns=0 +tcp +nocookie +noad soa example
check nxdomain 'status: NXDOMAIN'$'\n''SOA' '' +noedns +noad a nope.example
check nodata "$ok"$'\n''ANSWER: 0, AUTHORITY: 1' '' +noedns +noad txt video.example
check other 'status: REFUSED' '' +noedns +noad soa other.test
check axfr 'Transfer failed' '' +noedns axfr example
check co 'status: NXDOMAIN'$'\n'"$opt, flags: do co;" '' +edns=0 +dnssec +coflag +nocookie +noad a nope.example
check no-co "$ok"$'\n'"$opt, flags: do;" '' +edns=0 +dnssec +nocookie +noad a nope.example
check ede-refused 'EDE: 20' '' +edns=0 +nocookie +noad soa other.test
check ede-any 'status: REFUSED'$'\n''EDE: 21' '' +edns=0 +nocookie +noad any example
check rfc3597 "$ok"$'\n''TYPE65280\s+\\# 4 0A0B0C0D' '' +edns=0 +nocookie +noad type65280 other-type.example
compliance=$passed/$((passed + failed))

echo "== dnsviz"
before=$failed
dnsviz probe -A -E -x "example+:ns.example=127.0.0.1:$port" \
  -R SOA,NS,DNSKEY,A,AAAA,TXT,HTTPS,CDS,CDNSKEY -o "$dir/probe.json" example video.example www.example a.wild.example nope.example \
  > "$dir/probe.log" 2>&1 || fail 'dnsviz probe' "$(tail -5 "$dir/probe.log")"
cat "$dir/probe.log"
dnsviz grok -r "$dir/probe.json" -l info -o "$dir/grok.json" > "$dir/grok.log" 2>&1 || fail 'dnsviz grok' "$(tail -5 "$dir/grok.log")"
python3 - "$dir/grok.json" > "$dir/issues" << 'PYTHON' || fail 'dnsviz grok said nothing that can be read'
import collections, json, sys

valid = collections.Counter()

def look(value, path):
    """Prints every error and warning below a value, and counts what was found valid."""
    if isinstance(value, list):
        for inner in value:
            look(inner, path)
    if not isinstance(value, dict):
        return
    if value.get("status") == "VALID":
        valid[path[-1]] += 1
    for name, inner in value.items():
        if name in ("errors", "warnings"):
            for issue in inner:
                said = issue.get("description", issue) if isinstance(issue, dict) else issue
                print(f"{name[:-1]}: {' / '.join(path)}: {said}")
        else:
            look(inner, path + [name])

with open(sys.argv[1]) as file:
    look(json.load(file), [])
with open(sys.argv[1] + ".valid", "w") as file:
    file.write(f"{valid['rrsig']} signatures and {valid['proof']} proofs valid")
if valid["rrsig"] < 50 or valid["proof"] < 20:
    sys.exit("hardly anything was looked at")
PYTHON
while IFS= read -r issue; do fail "dnsviz: $issue"; done < "$dir/issues"
dnsviz=$((failed - before))

echo "== validation by delv and drill"
before=$((passed + failed)) failures=$failed
{
  echo 'trust-anchors {'
  read -r tag algorithm digest text <<< "$ds"
  printf '  example. static-ds %s %s %s "%s";\n};\n' "$tag" "$algorithm" "$digest" "$text"
} > "$dir/anchors"
dig @127.0.0.1 -p "$port" +short +dnssec dnskey example | grep '^257' | sed 's/^/example. IN DNSKEY /' > "$dir/drill.key"
while read -r name type expected; do
  said=$(delv @127.0.0.1 -p "$port" -a "$dir/anchors" +root=example "$name" "$type" 2>&1 || true)
  if grep -qxF -e "; $expected" <<< "$said"; then pass; else fail "delv $name $type: not $expected" "$said"; fi
  [ "$expected" = 'fully validated' ] || continue
  said=$(drill -S -p "$port" -k "$dir/drill.key" "$name" "$type" @127.0.0.1 2>&1 || true)
  if grep -qF ';; Chase successful' <<< "$said"; then pass; else fail "drill $name $type" "$said"; fi
done << 'QUESTIONS'
video.example A fully validated
video.example AAAA fully validated
video.example HTTPS fully validated
www.example A fully validated
a.wild.example TXT fully validated
example SOA fully validated
example NS fully validated
example DNSKEY fully validated
example CDS fully validated
example CDNSKEY fully validated
video.example TXT negative response, fully validated
wild.example TXT negative response, fully validated
other-type.example TYPE65280 fully validated
nope.example A negative response, fully validated
sub.example DS negative response, fully validated
QUESTIONS
validation="$((passed + failed - before - failed + failures))/$((passed + failed - before))"

zonemaster=skipped
if command -v zonemaster-cli > /dev/null && [ "$(id -u)" = 0 ]; then
  echo "== Zonemaster"
  # It asks at port 53 alone.
  master=127.0.0.153 zonemaster=0
  start "$master:53"
  for module in Nameserver DNSSEC; do
    said=$(zonemaster-cli --ns "ns.example/$master" --ds "${ds// /,}" --no-ipv6 --test "$module" --level INFO  \
      --show_testcase --raw example 2>&1 || true)
    found=$(grep -cE ' (INFO|NOTICE) ' <<< "$said" || true)
    if grep -E ' (WARNING|ERROR|CRITICAL) ' <<< "$said" > "$dir/zonemaster"; then
      while IFS= read -r issue; do fail "zonemaster: $issue"; done < "$dir/zonemaster"
    elif [ "$found" -lt 2 ]; then
      fail "zonemaster $module said nothing" "$said"
    fi
    zonemaster=$((zonemaster + found))
  done
  zonemaster+=' findings, no warning or error'
  [ ! -s "$dir/zonemaster" ] || zonemaster='warnings or errors'
fi

printf 'compliance %s; dnsviz: %s, %s errors and warnings; validation %s; Zonemaster: %s\n' \
  "$compliance" "$(cat "$dir/grok.json.valid")" "$dnsviz" "$validation" "$zonemaster"
[ "$failed" -eq 0 ]
