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

programs=(redis-server memcached)
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

status=0
"$bin/maru-bench" rpc --keys "$keys" --seconds "$seconds" --json "$json" > "$folder/rpc" || status=$?
[ $status -le 1 ] || exit $status

measure_redis everysec --keys "$keys" --seconds "$seconds" --json "$json" > "$folder/redis"

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
