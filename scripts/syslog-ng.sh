#!/usr/bin/env bash
# Unpacks Debian's syslog-ng into .cache/syslog-ng, for a test that sends audit
# records to it. It is not installed: Debian has one log server at a time, and
# the tests need rsyslog too.
#
# Says nothing and needs no network where it is there. Exit: 0 it is there, or
# this is not Debian; 1 it could not be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

to=.cache/syslog-ng
if command -v syslog-ng >/dev/null || [ -x "$to/usr/sbin/syslog-ng" ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
  echo "syslog-ng.sh: this is not Debian: what needs syslog-ng will be skipped" >&2
  exit 0
fi
mkdir -p .cache
work=$(mktemp -d .cache/syslog-ng.XXXXXX)
trap 'rm -rf "$work"' EXIT
fetch() { (cd "$work" && apt-get download -qq syslog-ng-core libivykis0 libnet1 libwrap0 libpcre3 libjson-c5 libnsl2); }
# Where every package was installed already, nobody has asked for the lists yet,
# or they name versions that are not there any more.
fetch 2>/dev/null || { apt-get update -qq && fetch; } ||
  { echo "syslog-ng.sh: apt-get can't download it; as root it would look for newer lists" >&2; exit 1; }
for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
mv "$work/root" "$to"
