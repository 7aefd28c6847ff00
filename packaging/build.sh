#!/usr/bin/env bash
# Builds the packages restartilka and restartilka-agent.
#
#   packaging/build.sh [--arch amd64|arm64]… [--format deb|rpm] [--out DIR]
#
# Without --arch for both architectures; deb unless --format says rpm; into
# dist/. Prints the path of each package. The same tree gives the same bytes,
# from whatever folder, by whomever, at whatever time. From the environment:
#
#   VERSION            the Makefile's otherwise: 1.2.3, or 1.2.3-rc.1, which
#                      comes before it (1.2.3~rc.1-1 for dpkg)
#   COMMIT             what the programs say they were built from; asked of git
#   SOURCE_DATE_EPOCH  time of every file; that of the last commit, and without
#                      git the day of the last release in CHANGELOG.md
#
# Needs Go and, the first time, its module proxy; no packaging tools, no root.
# What can be used again lies in .cache/packages. Builds wait for one another.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

nfpm_version=v2.45.0
maintainer='The restartilka authors <restartilka@users.noreply.github.com>'
module=github.com/restartilka/restartilka

# Before the folder is changed: a relative --out is the caller's.
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cache=$root/.cache/packages
nfpm=$root/.cache/bin/nfpm-$nfpm_version

main() {
  local out=$root/dist format=deb arches=()
  while [ $# -gt 0 ]; do
    case $1 in
      --arch | --out | --format) [ $# -ge 2 ] || die "$1 wants a value" ;;
      -h | --help)
        sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' packaging/build.sh
        exit 0
        ;;
      *) die "$1 is not understood: packaging/build.sh [--arch amd64|arm64]… [--format deb|rpm] [--out DIR]" ;;
    esac
    case $1 in
      --arch)
        case $2 in amd64 | arm64) arches+=("$2") ;; *) die "--arch: $2 is neither amd64 nor arm64" ;; esac
        ;;
      --format)
        case $2 in deb | rpm) format=$2 ;; *) die "--format: $2 is neither deb nor rpm" ;; esac
        ;;
      --out)
        case $2 in /*) out=$2 ;; *) out=$caller/$2 ;; esac
        ;;
    esac
    shift 2
  done
  if [ "${#arches[@]}" = 0 ]; then arches=(amd64 arm64); fi

  mkdir -p "$cache" "$out"
  exec 9>"$cache/lock"
  flock 9

  settle_version
  settle_date
  prepare_tools
  local arch
  for arch in "${arches[@]}"; do
    build_programs "$arch"
    package restartilka server "$arch" "$format" "$out"
    package restartilka-agent agent "$arch" "$format" "$out"
  done
}

die() {
  echo "build.sh: $*" >&2
  exit 1
}

# settle_version sets what the programs are told (version, commit) and what the
# packages are called (base, prerelease, debian).
settle_version() {
  version=${VERSION:-$(sed -n 's/^VERSION ?= //p' Makefile)}
  [[ $version =~ ^([0-9]+\.[0-9]+\.[0-9]+)(-([0-9A-Za-z.]+))?$ ]] ||
    die "VERSION: \"$version\" is not like 1.2.3 or 1.2.3-rc.1"
  base=${BASH_REMATCH[1]}
  prerelease=${BASH_REMATCH[3]}
  debian=$base${prerelease:+"~$prerelease"}-1
  commit=${COMMIT:-}
  if [ -z "$commit" ] && commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
    git diff --quiet HEAD || commit+=-dirty
  fi
}

settle_date() {
  epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null)} || epoch=''
  epoch=${epoch:-$(go run ./packaging/papers date)}
  [[ $epoch =~ ^[0-9]+$ ]] || die "SOURCE_DATE_EPOCH: \"$epoch\" is not a number of seconds"
  export SOURCE_DATE_EPOCH=$epoch
}

# prepare_tools builds what runs here: nfpm, and the writers of manual and
# papers.
prepare_tools() {
  local host=(env GOOS= GOARCH= GOFLAGS= CGO_ENABLED=0)
  if ! [ -x "$nfpm" ]; then
    echo "building nfpm $nfpm_version, under a minute the first time" >&2
    mkdir -p "${nfpm%/*}"
    "${host[@]}" GOBIN="$cache/new" go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@$nfpm_version"
    mv "$cache/new/nfpm" "$nfpm"
  fi
  "${host[@]}" go build -trimpath -buildvcs=false -o "$cache/papers" ./packaging/papers
  "${host[@]}" go build -trimpath -buildvcs=false -tags man -ldflags "-X $module/internal/version.version=$version" -o "$cache/man" ./cmd/restartilka
}

# build_programs leaves both programs in $cache/ARCH; Go links them anew only
# when something has changed.
build_programs() {
  local arch=$1
  mkdir -p "$cache/$arch"
  env GOOS=linux GOARCH="$arch" GOAMD64=v1 GOARM64=v8.0 GOFLAGS='' CGO_ENABLED=0 \
    go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X $module/internal/version.version=$version -X $module/internal/version.commit=$commit" \
    -o "$cache/$arch/" ./cmd/restartilka ./cmd/restartilka-agent
}

# package NAME FOLDER ARCH FORMAT OUT stages everything that goes into one
# package, and has nfpm put it together.
package() {
  local name=$1 source=packaging/$2 arch=$3 format=$4 out=$5
  local stage=$cache/stage vendored=()
  rm -rf "$stage"
  mkdir -p "$stage"/{bin,files,scripts,doc,scenarios}

  install -m 0755 "$cache/$arch/$name" "$stage/bin/"
  find "$source" -maxdepth 1 -type f ! -name nfpm.yaml -exec install -m 0644 -t "$stage/files" {} +
  install -m 0644 scenarios/*.yaml "$stage/scenarios/"
  install -m 0644 LICENSE "$stage/doc/"

  local script
  for script in "$source/$format"/*; do
    # "#include NAME" stands for what several scripts have in common.
    awk -v dir="$source/include" -v version="$debian" '
      /^#include / { while ((getline line <(dir "/" $2)) > 0) print line; next }
      { gsub(/@VERSION@/, version); print }
    ' "$script" >"$stage/scripts/${script##*/}"
    chmod 0755 "$stage/scripts/${script##*/}"
  done

  if [ "$name" = restartilka ]; then
    vendored=(internal/web/static/vendor/LICENSE-htmx.txt=htmx)
    mkdir "$stage/manual"
    "$cache/man" "$stage/manual" "$epoch"
    gzip -9n "$stage/manual/man1"/*.1
  else
    sed -i -e "s/@VERSION@/$version/g" -e "s/@DATE@/$(date -u -d "@$epoch" +%Y-%m-%d)/g" "$stage/files/$name.8"
    gzip -9n "$stage/files/$name.8"
  fi
  env GOOS=linux GOARCH="$arch" GOFLAGS='' CGO_ENABLED=0 "$cache/papers" copyright "./cmd/$name" "${vendored[@]}" >"$stage/doc/copyright"
  "$cache/papers" changelog "$name" "$debian" "$epoch" >"$stage/doc/changelog.Debian"
  install -m 0644 CHANGELOG.md "$stage/doc/changelog"
  gzip -9n "$stage/doc/changelog.Debian" "$stage/doc/changelog"

  find "$stage" -exec touch -h -d "@$epoch" {} +
  # A Debian package has no field for the licence: its file copyright says it.
  local file=${name}_${debian}_$arch.deb
  if [ "$format" = deb ]; then
    sed '/^license:/d' "$source/nfpm.yaml" >"$stage/nfpm.yaml"
  else
    install -m 0644 "$source/nfpm.yaml" "$stage/"
    file=$name-${debian%-1}-1.$(rpm_arch "$arch").rpm
  fi
  (
    cd "$stage"
    ARCH=$arch BASE=$base PRERELEASE=$prerelease MAINTAINER=$maintainer \
      "$nfpm" package --config nfpm.yaml --packager "$format" --target "$cache/$file" >/dev/null
  )
  mv -f "$cache/$file" "$out/$file"
  echo "$out/$file"
}

rpm_arch() {
  case $1 in amd64) echo x86_64 ;; arm64) echo aarch64 ;; esac
}

main "$@"
