# shellcheck shell=bash
# What the benchmarks share: an nginx that stands for Graph, and the configuration of a graphward in front of it.

# The token of the benchmarks. graphward would take a repeated letter for a placeholder.
token=EAAGm0PX4ZCpsBAKZCZBbenchZAqW8ZBJq3uYlmZCfEoZBdRkTn7QxV2iHsLwGc9ZADyZBpt5ZCUrNeMa1ZBoKv6jXzI0ZAgFhbS8T3

# What gives the origin a priority, if a benchmark sets it.
realtime=()

# A token that the origin rejects as Graph does, whatever follows it.
dead_token=${token/bench/storm}

# Sets $dir to a directory that is removed at the end, together with the processes that `start` has started.
begin() {
  dir=$(mktemp -d)
  # nginx drops its rights, and still reads and writes below it.
  chmod 711 "$dir"
  pids=()
  trap 'end_all' EXIT
}

end_all() {
  local of
  for of in "${pids[@]:-}"; do [ -z "$of" ] || kill "$of" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
}

# start CORE COMMAND…: starts the command on the core, and sets $pid.
start() {
  local core=$1
  shift
  taskset -c "$core" "$@" >>"$dir/out.log" 2>&1 &
  pid=$!
  pids+=("$pid")
}

# need PROGRAM…: exits unless all are there.
need() {
  local tool
  for tool; do
    has "$tool" || { echo "$0: $tool is missing; install it first" >&2; exit 2; }
  done
}

# Prints the first lines of an nginx configuration: nginx_head NAME
nginx_head() {
  cat <<CONF
worker_processes 1; pid $dir/$1.pid; error_log $dir/$1.log; daemon off;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path $dir/$1.body; proxy_temp_path $dir/$1.proxy; fastcgi_temp_path $dir/$1.f;
  uwsgi_temp_path $dir/$1.u; scgi_temp_path $dir/$1.s;
CONF
}

# Starts an origin that answers as Graph does, on core 1: start_origin PORT [http2]
start_origin() {
  local port=$1 http2=${2:-} answer dead
  if [ ! -e "$dir/leaf.pem" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=bench CA" \
      -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=graph.facebook.com" \
      -keyout "$dir/leaf.key" -out "$dir/leaf.csr" 2>/dev/null
    openssl x509 -req -in "$dir/leaf.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
      -extfile <(printf 'subjectAltName=DNS:graph.facebook.com') -out "$dir/leaf.pem" 2>/dev/null
  fi
  answer='{"messaging_product":"whatsapp","contacts":[{"input":"15550001111","wa_id":"15550001111"}],"messages":[{"id":"wamid.HBgLMTU1NTAwMDExMTEVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"}]}'
  dead='{"error":{"message":"Error validating access token: Session has expired.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"A1b2"}}'
  cat >"$dir/origin$port.conf" <<CONF
$(nginx_head "origin$port")
  server { listen 127.0.0.1:$port ssl $http2; ssl_certificate $dir/leaf.pem; ssl_certificate_key $dir/leaf.key;
    ssl_protocols TLSv1.3;
    location = /large { if (\$http_authorization != "Bearer $token") { return 401; } root $dir; }
    location / { if (\$http_authorization ~ "^Bearer $dead_token") { return 401 '$dead'; }
      if (\$http_authorization !~ "^Bearer $token") { return 401; }
      default_type "application/json; charset=UTF-8"; add_header X-App-Usage '{"call_count":1}';
      add_header facebook-api-version v23.0; return 200 '$answer'; } } }
CONF
  start 1 "${realtime[@]}" nginx -c "$dir/origin$port.conf" -p "$dir"
  wait_for_port "$port"
}

# Writes the configuration of a graphward on a port, with its admin endpoint 1,000 above: graphward_config PORT ORIGIN
graphward_config() {
  printf %s "$token" >"$dir/token"
  cat >"$dir/graphward$1.toml" <<CONF
[listen]
proxy = "127.0.0.1:$1"
admin = "127.0.0.1:$(($1 + 1000))"
[upstream]
ca_file = "$dir/ca.pem"
[upstream.connect_to]
"graph.facebook.com" = "127.0.0.1:$2"
[token]
source = { file = "$dir/token" }
CONF
}

# Waits until something listens on a port.
wait_for_port() {
  for _ in $(seq 1 2000); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.01
  done
  echo "$0: nothing listens on port $1" >&2
  cat "$dir/out.log" >&2
  exit 1
}

# Prints the CPU time of a process and its children, in nanoseconds.
cpu() {
  local total=0 of
  for of in "$1" $(pgrep -P "$1" || true); do
    for task in /proc/"$of"/task/*/schedstat; do read -r ns _ <"$task"; total=$((total + ns)); done
  done
  echo "$total"
}

# Prints the most memory that a process and its children have had, together, in KiB.
most_memory() {
  local total=0 of
  for of in "$1" $(pgrep -P "$1" || true); do
    total=$((total + $(awk '/^VmHWM/ {print $2}' "/proc/$of/status")))
  done
  echo "$total"
}

# Prints a budget of benches/budgets: its own one of the program that BUILD names, if it has one.
budget() {
  local name
  for name in ${BUILD:+"${BUILD}_$1"} "$1"; do
    sed -n "s/^$name *= *\([0-9.]*\).*/\1/p" benches/budgets
  done | head -1
}
