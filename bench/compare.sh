#!/bin/bash
# Measures Maru, Redis and memcached one after the other on this machine and prints one table and the promises.
#
#   bench/compare.sh [BUILD_DIR] [KEYS] [SECONDS] [JSON]     (defaults: build/release 1000000 2 bench-rows.json)
#
# Redis and memcached come from Debian's packages (redis-server, memcached). Each is started on a free loopback port
# with its files in a temporary folder, and stopped by its process id.
set -euo pipefail

build=${1:-build/release}
keys=${2:-1000000}
seconds=${3:-2}
json=${4:-bench-rows.json}
bin=$build/bin

for program in "$bin/maru-bench" "$bin/kv-compare"; do
  [ -x "$program" ] || { echo "compare.sh: $program is missing: build first (kv-compare needs libhiredis-dev)" >&2; exit 2; }
done
for program in redis-server memcached; do
  command -v $program > /dev/null || { echo "compare.sh: $program is missing: apt-get install redis-server memcached" >&2; exit 2; }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/maru-compare-XXXXXX")
server=
stop_server() {
  if [ -n "$server" ]; then
    kill "$server" 2> /dev/null || true
    wait "$server" 2> /dev/null || true
    server=
  fi
}
trap 'stop_server; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# A port that nobody listens on now. Outside the range that the kernel gives to clients.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 10000))
    if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
      echo $port
      return
    fi
  done
  echo "compare.sh: no free port found" >&2
  return 1
}

wait_for_port() {
  for _ in $(seq 100); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; then return; fi
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
  done
  echo "compare.sh: the server on port $1 does not answer; its last words:" >&2
  tail -5 "$folder/log" >&2
  exit 2
}

status=0
"$bin/maru-bench" rpc --keys "$keys" --seconds "$seconds" --json "$json" > "$folder/rpc" || status=$?
[ $status -le 1 ] || exit $status

port=$(free_port)
redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --appendonly yes --appendfsync everysec --save "" \
  --daemonize no > "$folder/log" 2>&1 &
server=$!
wait_for_port "$port"
"$bin/kv-compare" --system redis --server "127.0.0.1:$port" --pid "$server" --keys "$keys" --seconds "$seconds" \
  --json "$json" > "$folder/redis"
stop_server

port=$(free_port)
# Two threads: as many as marud's scheduler has on two cores. Memory for all keys, so that nothing is evicted.
memcached -l 127.0.0.1 -p "$port" -U 0 -t 2 -m 2048 -u "$(id -un)" > "$folder/log" 2>&1 &
server=$!
wait_for_port "$port"
"$bin/kv-compare" --system memcached --server "127.0.0.1:$port" --pid "$server" --keys "$keys" --seconds "$seconds" \
  --json "$json" > "$folder/memcached"
stop_server

head -1 "$folder/rpc"
echo "$(redis-server --version | cut -d' ' -f1-3), $(memcached -V); $keys keys of 60 bytes, $seconds s a cell"
echo
"$bin/maru-bench" targets "$json" || status=1
exit $status
