#!/bin/bash
# Measures what a worker pays that shares its host with its cache, and prints one table and the promises: local reads of
# Maru, its messages and bare maps by `maru-bench local`, then Redis and memcached over Unix sockets with the same keys.
#
#   bench/local.sh [BUILD_DIR] [KEYS] [SECONDS] [JSON]     (defaults: build/release 1000000 0.5 local-rows.json)
#
# Redis and memcached come from Debian's packages (redis-server, memcached). Each is started on a socket in a temporary
# folder, and stopped by its process id. Exit code 1: a promise is missed, or a call failed.
set -euo pipefail

build=${1:-build/release}
keys=${2:-1000000}
seconds=${3:-0.5}
json=${4:-local-rows.json}
bin=$build/bin

programs=(redis-server memcached)
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

status=0
"$bin/maru-bench" local --keys "$keys" --seconds "$seconds" --json "$json" > "$folder/local" || status=$?
[ $status -le 1 ] || exit $status

# As many client processes as `local` has threads; GET and EXISTS, mg with and without the value.
compare() {
  "$bin/kv-compare" --system "$1" --label "$1-unix" --server "unix:$socket" --pid "$server" --keys "$keys" \
    --seconds "$seconds" --only lookup,exists --clients 1,2 --json "$json" > /dev/null
}

socket=$folder/redis.sock
redis-server --port 0 --unixsocket "$socket" --dir "$folder" --appendonly no --save "" --daemonize no \
  > "$folder/log" 2>&1 &
server=$!
wait_for_socket "$socket"
compare redis
stop_server

socket=$folder/memcached.sock
# As in compare.sh: two threads, and memory for all keys.
memcached -s "$socket" -a 0700 -t 2 -m 2048 -u "$(id -un)" > "$folder/log" 2>&1 &
server=$!
wait_for_socket "$socket"
compare memcached
stop_server

sed '/^$/,$d' "$folder/local"
echo "$(redis-server --version | cut -d' ' -f1-3), $(memcached -V), over Unix sockets"
echo
"$bin/maru-bench" targets "$json" || status=1
exit $status
