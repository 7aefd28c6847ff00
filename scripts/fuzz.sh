#!/usr/bin/env bash
# Runs every fuzz target of the module for a while each: fuzz.sh [TIME], such
# as 10s (the default) or 5m. Go fuzzes one target of one package at a time; left
# to itself it would spend a minute on making each new input shorter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-10s}

found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "== ${file%/*} $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 200x "./${file%/*}"
done < <(git ls-files --cached --others --exclude-standard -- '*_test.go' |
  xargs -r grep -oHE '^func Fuzz[A-Z][A-Za-z0-9_]*' -- | sed 's/:func /:/')

if [ "$found" = 0 ]; then
  echo "fuzz.sh: no fuzz target found" >&2
  exit 1
fi
echo "$found fuzz targets, $fuzztime each"
