# Shared by the scripts beside it; sourced, not run. Leaves the shell in the repository's root.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=$(nproc)

# What one checkout compiled serves all others of it: ccache then hashes paths below the root as relative ones.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true

# A directory for pools and scratch files, gone with remove_scratch: on tmpfs where there is one with room.
# REQUIRES: $1 = MiB that should be free there.
make_scratch() {
  local place free
  for place in /dev/shm "${TMPDIR:-/tmp}" /tmp; do
    [ -d "$place" ] && [ -w "$place" ] || continue
    free=$(free_mib "$place")
    [ "$free" -ge "$1" ] || continue
    scratch=$(mktemp -d "$place/maru-XXXXXX")
    [ "$(stat -f -c %T "$place")" = tmpfs ] || echo "note: no tmpfs with $1 MiB free, using $place, which may be slower"
    return
  done
  echo "failed to find a directory with $1 MiB free: tried /dev/shm, TMPDIR and /tmp" >&2
  return 1
}

remove_scratch() { [ -z "${scratch:-}" ] || rm -rf "$scratch"; }

# MiB free in the file system of $1.
free_mib() { df -Pm "$1" | awk 'NR == 2 { print $4 }'; }

# MiB of memory that programs can still have, also under a container's limit.
memory_mib() {
  local available limit used
  available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
  if [ -r /sys/fs/cgroup/memory.max ] && limit=$(cat /sys/fs/cgroup/memory.max) && [ "$limit" != max ]; then
    used=$(cat /sys/fs/cgroup/memory.current)
    limit=$(((limit - used) / 1048576))
    [ "$limit" -ge "$available" ] || available=$limit
  fi
  echo "$available"
}

# Configures and builds preset $1; the rest are targets, none for all.
build_preset() {
  local preset=$1
  shift
  cmake --preset "$preset" >build/"$preset".configure.log 2>&1 || {
    tail -n 40 build/"$preset".configure.log >&2
    echo "failed to configure preset $preset: see above" >&2
    return 1
  }
  cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"}
}

# Programs started in the background, by id: asked to end, and after 10 s made to.
started=()
stop_started() {
  local pid tries
  for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for ((tries = 0; tries < 100; ++tries)); do
    for pid in "${started[@]}"; do ! kill -0 "$pid" 2>/dev/null || { sleep 0.1; continue 2; }; done
    break
  done
  for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  started=()
}

# Starts marud with a new pool in $scratch on free loopback ports and waits until it serves; the rest are more options
# of marud. Leaves its address in $server and its id in $marud.
start_marud() {
  local log=$scratch/marud.log tries port
  : >"$log"  # there before the first look at it
  build/release/bin/marud --pool "$scratch/pool" --state-dir "$scratch/state" --listen 127.0.0.1:0 \
    --http 127.0.0.1:0 "$@" >"$log" 2>&1 &
  marud=$!
  started+=("$marud")
  for ((tries = 0; tries < 600; ++tries)); do
    port=$(sed -n 's/.*ready: serving .* on port \([0-9]*\), metrics.*/\1/p' "$log")
    [ -z "$port" ] || { server=127.0.0.1:$port; return; }
    kill -0 "$marud" 2>/dev/null || break
    sleep 0.05
  done
  cat "$log" >&2
  echo "failed to start marud: it said the above" >&2
  return 1
}
