#!/bin/bash
# What it costs that an acknowledged put survives a crash of the host: puts by Maru with --durability process and host, and
# by Redis with appendfsync everysec and always, one after the other on this machine.
#
#   bench/durability.sh [BUILD_DIR] [SECONDS]     (defaults: build/release 2)
#
# The pool of `host` and all logs lie in the temporary folder: TMPDIR should be on the disk that is meant.
set -euo pipefail

build=${1:-build/release}
seconds=${2:-2}
keys=10000
bin=$build/bin
programs=(redis-server)
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

rows=$folder/rows.json
options=(--keys "$keys" --seconds "$seconds" --only put --json "$rows")
"$bin/maru-bench" rpc "${options[@]}" > "$folder/out"
"$bin/maru-bench" rpc "${options[@]}" --durability host --append > "$folder/host"
measure_redis everysec "${options[@]}" --label redis-everysec > /dev/null
measure_redis always "${options[@]}" --label redis-always > /dev/null

head -1 "$folder/out"
echo "$(redis-server --version | cut -d' ' -f1-3); $(stat -f -c %T "$folder") in $(dirname "$folder"); keys of 60 bytes, $seconds s a cell"
echo
"$bin/maru-bench" targets "$rows" | sed -n '/^system/,/^$/p'
