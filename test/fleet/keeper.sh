#!/bin/sh
# Takes a fleet down when its input ends: the test is over, or was killed.
#
#   keeper.sh ID DIR CGROUP…   each CGROUP is the fleet's own folder in a hierarchy
id=$1 dir=$2
shift 2
trap '' INT TERM HUP
cat >/dev/null

members() { find "$@" -name cgroup.procs -exec cat {} + 2>/dev/null; }
tries=0
while [ -n "$(members "$@")" ] && [ "$tries" -lt 100 ]; do
  for pid in $(members "$@"); do kill -KILL "$pid" 2>/dev/null; done
  tries=$((tries + 1))
  sleep 0.05
done
for group in "$@"; do find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null; done
for merged in "$dir"/*/merged; do
  if [ -d "$merged" ]; then umount -R "$merged" 2>/dev/null || umount -l "$merged"; fi
done
for ns in /run/netns/"$id"*; do
  if [ -e "$ns" ]; then ip netns del "${ns##*/}"; fi
done
rm -rf "$dir"
