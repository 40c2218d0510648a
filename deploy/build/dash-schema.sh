#!/usr/bin/env bash
# Prints where the schema of the MPD (ISO/IEC 23009-1) lies on this machine, after fetching it when it is not there yet.
#
# MPEG publishes it on a web page; the one package that carries it is the source package python-mpegdash of Debian and
# Ubuntu. apt checks the archive's signature, this script the file itself. Needs no root and leaves apt's own lists alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

package=python-mpegdash
member=mpegdash/schema/dash-mpd.xsd
sha256=90dbe6188a7fa75f8e169e3711ddea7519e1189c630d14fe58e97157ff13ce30
folder=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate
schema=$folder/dash-mpd.xsd

is_good() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }
fail() {
  echo "dash-schema.sh: $1; with a DASH-MPD.xsd of your own: TIDEGATE_DASH_XSD=FILE" >&2
  exit 1
}

if ! is_good "$schema"; then
  command -v apt-get >/dev/null || fail "no apt-get here"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT

  # The archive that this machine already uses, asked for sources.
  . /etc/os-release
  archive=$(apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v release="$VERSION_CODENAME" '$2 == release && $3 == "main" { uri = $1 } END { print uri }')
  [ -n "$archive" ] || fail "apt knows no archive of $VERSION_CODENAME"
  case $ID in
    ubuntu) place="$VERSION_CODENAME universe" ;;
    *) place="trixie main" ;;
  esac
  keys=/usr/share/keyrings/$ID-archive-keyring.gpg
  [ -f "$keys" ] || fail "no keys at $keys"
  echo "deb-src [signed-by=$keys] $archive $place" >"$scratch/sources.list"
  mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
  apt=(
    apt-get -qq
    -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$scratch/lists" -o Dir::Cache="$scratch/cache"
    -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3
  )
  "${apt[@]}" update >&2 || fail "the list of source packages cannot be read"
  (cd "$scratch" && "${apt[@]}" source --download-only --tar-only "$package" >&2) || fail "$package cannot be fetched"
  tar --extract --gzip --to-stdout --wildcards --file "$scratch/$package"_*.orig.tar.gz "*/$member" >"$scratch/schema"
  is_good "$scratch/schema" || fail "$member in $package is not the file that was reviewed"

  mkdir -p "$folder"
  mv "$scratch/schema" "$schema.new"
  mv "$schema.new" "$schema"
fi
# It imports its neighbour of this name; ours says no more than what it refers to.
cmp --silent "$here/../system-test/schema/xlink.xsd" "$folder/xlink.xsd" ||
  cp "$here/../system-test/schema/xlink.xsd" "$folder/xlink.xsd"
echo "$schema"
