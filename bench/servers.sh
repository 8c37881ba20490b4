# Servers of the benchmarks beside it; sourced, not run. Each is started on a free loopback port, or on a socket in $folder,
# with its files there, and stopped by its process id. $server has the id of the one that runs.

# The programs that must be there, and what to install where one is not.
for program in "$bin/maru-bench" "$bin/kv-compare"; do
  [ -x "$program" ] || { echo "$0: $program is missing: build first (kv-compare needs libhiredis-dev)" >&2; exit 2; }
done
for program in "${programs[@]}"; do
  command -v "$program" > /dev/null || { echo "$0: $program is missing: scripts/setup bench" >&2; exit 2; }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/maru-bench-XXXXXX")
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
  echo "$0: no free port found" >&2
  return 1
}

# Waits until this command succeeds: the server that was started answers. The rest of the words say where it should.
wait_until() {
  local answers=$1
  shift
  for _ in $(seq 100); do
    if $answers 2> /dev/null; then return; fi
    kill -0 "$server" 2> /dev/null || break
    sleep 0.1
  done
  echo "$0: the server on $* does not answer; its last words:" >&2
  tail -5 "$folder/log" >&2
  exit 2
}
port_answers() { (exec 3<> "/dev/tcp/127.0.0.1/$port"); }
wait_for_port() {
  local port=$1
  wait_until port_answers "port $port"
}
socket_answers() {
  /usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$socket"
}
wait_for_socket() {
  local socket=$1
  wait_until socket_answers "$socket"
}

# Starts Redis with this fsync policy and measures it with kv-compare; the rest are more arguments of that.
measure_redis() {
  local policy=$1 port
  shift
  port=$(free_port)
  redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --appendonly yes --appendfsync "$policy" --save "" \
    --daemonize no > "$folder/log" 2>&1 &
  server=$!
  wait_for_port "$port"
  "$bin/kv-compare" --system redis --server "127.0.0.1:$port" --pid "$server" "$@"
  stop_server
  rm -rf "$folder/appendonlydir"
}
