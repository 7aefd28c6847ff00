#!/usr/bin/env bash
# Installs the Debian packages that the tests need (scripts/packages.txt).
#
#   scripts/deps.sh [--yes]
#
# Says nothing and needs no network where all of them are installed. At a
# person's terminal it asks first; with --yes, with CI=true, or without a
# terminal it does not. No service is started and no database cluster made: the
# tests start servers of their own. Exit: 0 all there, 1 something is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/restartilka-deps.conf

main() {
  local ask=yes
  if [ "${1:-}" = --yes ] || [ "${CI:-}" = true ] || ! [ -t 0 ]; then ask=no; fi

  if ! command -v dpkg-query >/dev/null; then
    not_debian
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" = 0 ]; then return; fi

  if [ "$ask" = yes ]; then
    confirm "${missing[@]}" || die "nothing installed; make check needs none of them"
  fi
  if [ "$(id -u)" != 0 ]; then
    as_root "$ask" "${missing[@]}"
    return
  fi
  install_packages "${missing[@]}"
}

die() {
  echo "deps.sh: $*" >&2
  exit 1
}

packages() { sed -E 's/[[:space:]]*#.*//; /^$/d' packages.txt; }

missing_packages() {
  local p
  packages | while read -r p; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
  done
}

# Elsewhere the tests that lack something skip and say what; CI may not skip.
not_debian() {
  if [ "${CI:-}" = true ]; then
    die "this is not Debian, and the tests need: $(packages | xargs)"
  fi
  echo "deps.sh: this is not Debian: tests that lack one of these will be skipped: $(packages | xargs)" >&2
}

confirm() {
  local p answer
  echo "make test needs these Debian packages, which are not installed:"
  for p in "$@"; do grep -E "^${p}[[:space:]]" packages.txt | sed 's/^/  /; s/#/ /'; done
  echo "apt-get would install them; no service is started now (rsyslog's would be at the next boot)."
  read -r -p "Install them? [y/N] " answer
  [[ "$answer" =~ ^[Yy] ]]
}

as_root() {
  local ask=$1
  shift
  command -v sudo >/dev/null ||
    die "only root can install packages, and there is no sudo; as root: apt-get install --no-install-recommends $*"
  local sudo=(sudo)
  [ "$ask" = yes ] || sudo+=(-n)
  "${sudo[@]}" -- bash "$PWD/deps.sh" --yes ||
    die "not installed; as root: apt-get install --no-install-recommends $*"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  echo "installing $*" >&2
  trap allow_services EXIT
  trap 'exit 1' INT TERM
  forbid_services
  # The lists may be absent, or older than the mirror: then once more with new ones.
  have_candidates "$@" || apt-get -qq update
  if ! apt_install "$@"; then
    apt-get -qq update
    apt_install "$@"
  fi
  allow_services
  trap - EXIT INT TERM
}

apt_install() {
  apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 install "$@" >&2
}

have_candidates() {
  local p
  for p in "$@"; do
    apt-cache policy "$p" | grep -q 'Candidate: [^(]' || return 1
  done
}

# While packages are installed, no service of theirs may start and PostgreSQL
# makes no cluster. What stood in the way of that is put aside, and put back.
forbid_services() {
  if [ -e "$policy" ] && ! [ -e "$policy.restartilka-saved" ]; then mv "$policy" "$policy.restartilka-saved"; fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
  mkdir -p "${cluster%/*}"
  echo 'create_main_cluster = false' >"$cluster"
}

allow_services() {
  rm -f "$policy" "$cluster"
  if [ -e "$policy.restartilka-saved" ]; then mv "$policy.restartilka-saved" "$policy"; fi
}

main "$@"
