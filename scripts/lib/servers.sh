# Functions for private servers, read by scripts/servers and scripts/cluster. Each works on the server in the
# folder $dir; they say what they do through `say` and give up through `die`.
# shellcheck shell=bash disable=SC2154 # dir, disk_size: set by those who read this

# shellcheck source=scripts/lib/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

# ---- where the programs are

# The first of the candidates that is a program.
first_program() {
  local candidate
  for candidate in "$@"; do
    if [ -x "$candidate" ]; then printf '%s\n' "$candidate"; return 0; fi
  done
  return 1
}

# Debian's own rabbitmq-server in /usr/sbin insists on the user rabbitmq; the one behind it runs as
# anybody. Other systems have only one.
find_rabbitmq() {
  first_program "/usr/lib/rabbitmq/bin/$1" "/opt/homebrew/sbin/$1" "/usr/local/sbin/$1" \
    "$(command -v "$1" || true)"
}

# PostgreSQL's server programs are seldom in PATH; the newest version wins.
find_postgres() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$1" | sort -rV | head -n 1)
  first_program "$newest" /opt/homebrew/opt/postgresql@*/bin/"$1" /usr/pgsql-*/bin/"$1" \
    "$(command -v "$1" || true)"
}

# What packages are missing.
packages_for_servers() {
  find_rabbitmq rabbitmq-server > /dev/null || echo rabbitmq-server
  find_postgres initdb > /dev/null || echo postgresql
  # With ps, which the smallest systems have not.
  command -v ps > /dev/null || echo procps
}

# Installs it. The package manager starts Erlang's port mapper on the way; ours has a port of its own.
install_missing() {
  # shellcheck disable=SC2046 # one word for each package
  need_packages $(packages_for_servers)
}

# ---- small tools

# A port below the range that the system hands out by itself, where nobody listens.
free_port() {
  local port
  for _ in $(seq 200); do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then printf '%s\n' "$port"; return 0; fi
  done
  die "no free port between 20000 and 32000"
}

# Waits up to $1 seconds for the rest of the line to succeed.
wait_for() {
  local seconds=$1; shift
  local tries=$((seconds * 10))
  while ! "$@" > /dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return 1
    sleep 0.1
  done
}

# The folder's absolute name, also before it exists.
absolute() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s/%s\n' "$PWD" "$1" ;; esac; }

# In a container nobody may collect the dead: those are gone, too.
gone() { ! kill -0 "$1" 2> /dev/null || grep -qs '^State:.*Z' "/proc/$1/status"; }

running() { [ -s "$1" ] && ! gone "$(cat "$1")"; }

# The name of its program.
command_of() { cat "/proc/$1/comm" 2> /dev/null || ps -o comm= -p "$1"; }

# ---- the broker

# RabbitMQ is told everything by its environment, so that no file of the system is read.
broker_environment() {
  # shellcheck source=/dev/null
  . "$dir/ports"
  mkdir -p "$dir/rabbitmq/home"
  export HOME="$dir/rabbitmq/home"
  export ERL_EPMD_PORT=$EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_NODENAME="pw$BROKER_PORT@localhost"
  export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$BROKER_PORT RABBITMQ_DIST_PORT=$DIST_PORT
  export RABBITMQ_MNESIA_BASE="$dir/rabbitmq/data" RABBITMQ_LOG_BASE="$dir/rabbitmq/log"
  export RABBITMQ_CONFIG_FILE="$dir/rabbitmq/rabbitmq" RABBITMQ_ADVANCED_CONFIG_FILE="$dir/rabbitmq/no-such-file"
  export RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq/no-such-file" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/rabbitmq/plugins"
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
}

# An authority of its own, and a certificate for 127.0.0.1 by it.
make_certificates() (
  mkdir -p "$dir/tls"
  cd "$dir/tls" || exit 1
  {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=test authority' -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
    echo 'subjectAltName=IP:127.0.0.1,DNS:localhost' > server.ext
    openssl x509 -req -days 30 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -out server.pem
  } > openssl.out 2>&1 || { tail -n 15 openssl.out >&2; die "openssl could not make certificates"; }
)

broker_port_is_open() { (exec 3<> "/dev/tcp/127.0.0.1/$BROKER_PORT"); }

# Erlang's port mapper: ours, and in the foreground, so that we know whom to stop.
start_epmd() {
  running "$dir/epmd.pid" && return 0
  local epmd
  epmd=$(command -v epmd || first_program /usr/lib/erlang/erts-*/bin/epmd) \
    || die "epmd of Erlang is missing"
  setsid nohup "$epmd" -port "$EPMD_PORT" -address 127.0.0.1 > "$dir/epmd.out" 2>&1 < /dev/null &
  echo $! > "$dir/epmd.pid"
}

start_broker() (
  broker_environment
  cd "$dir/rabbitmq" || exit 1
  local plugins=()
  printf '%s\n' "listeners.tcp.default = 127.0.0.1:$BROKER_PORT" 'disk_free_limit.absolute = 50MB' \
    'loopback_users = none' > "$dir/rabbitmq/rabbitmq.conf"
  if [ -e "$dir/broker-metrics" ]; then
    plugins+=(rabbitmq_prometheus)
    printf '%s\n' 'prometheus.tcp.ip = 127.0.0.1' "prometheus.tcp.port = $BROKER_METRICS_PORT" >> "$dir/rabbitmq/rabbitmq.conf"
  fi
  if [ -e "$dir/protocols" ]; then
    plugins+=(rabbitmq_amqp1_0 rabbitmq_mqtt rabbitmq_stomp)
    printf '%s\n' "mqtt.listeners.tcp.1 = 127.0.0.1:$MQTT_PORT" "stomp.listeners.tcp.1 = 127.0.0.1:$STOMP_PORT" \
      >> "$dir/rabbitmq/rabbitmq.conf"
  fi
  if [ -e "$dir/tls" ]; then
    printf '%s\n' "listeners.ssl.default = 127.0.0.1:$BROKER_TLS_PORT" "ssl_options.cacertfile = $dir/tls/ca.pem" \
      "ssl_options.certfile = $dir/tls/server.pem" "ssl_options.keyfile = $dir/tls/server.key" \
      'ssl_options.verify = verify_none' >> "$dir/rabbitmq/rabbitmq.conf"
  fi
  (IFS=,; echo "[${plugins[*]-}].") > "$dir/rabbitmq/plugins"
  if [ -e "$dir/more.conf" ]; then cat "$dir/more.conf" >> "$dir/rabbitmq/rabbitmq.conf"; fi
  start_epmd
  setsid nohup "$(find_rabbitmq rabbitmq-server)" > "$dir/rabbitmq/out" 2>&1 < /dev/null &
  # The server script becomes the Erlang machine, or starts it and waits.
  echo $! > "$dir/broker.pid"
  local pid=$!
  local tries=600
  while ! grep -q 'completed with' "$dir/rabbitmq/out" 2> /dev/null || ! broker_port_is_open 2> /dev/null; do
    tries=$((tries - 1))
    if gone "$pid" || [ $tries -le 0 ]; then
      tail -n 15 "$dir/rabbitmq/out" >&2
      die "RabbitMQ did not start; its log is in $dir/rabbitmq"
    fi
    sleep 0.1
  done
)

# The Erlang machine and what it has started, by their ids.
broker_processes() {
  running "$dir/broker.pid" || return 0
  family "$(cat "$dir/broker.pid")"
}

# A process and all that it has started, by their ids.
family() {
  local all=() next=("$1") parent child
  while [ ${#next[@]} -gt 0 ]; do
    parent=${next[0]}; next=("${next[@]:1}"); all+=("$parent")
    for child in $(cat "/proc/$parent/task/"*/children 2> /dev/null || pgrep -P "$parent" || true); do next+=("$child"); done
  done
  printf '%s\n' "${all[@]}"
}

end_broker() {
  local signal=$1 processes pid
  processes=$(broker_processes)
  [ -n "$processes" ] || return 0
  if [ "$signal" = TERM ]; then
    # The Erlang machine stops in order when asked to; the script around it passes nothing on.
    for pid in $processes; do
      case "$(command_of "$pid")" in *beam*) kill -TERM "$pid" 2> /dev/null || true ;; esac
    done
    wait_for 20 gone "$(cat "$dir/broker.pid")" || true
  fi
  for pid in $processes; do kill -KILL "$pid" 2> /dev/null || true; done
  for pid in $processes; do wait_for 10 gone "$pid" || die "process $pid of RabbitMQ does not end"; done
}

end_epmd() {
  if running "$dir/epmd.pid"; then
    local pid
    pid=$(cat "$dir/epmd.pid")
    kill -TERM "$pid" 2> /dev/null || true
    wait_for 5 gone "$pid" || kill -KILL "$pid" 2> /dev/null || true
  fi
  rm -f "$dir/epmd.pid"
}

# ---- the database

# PostgreSQL refuses to run as root. Then it runs as the user of its package.
as_database_user() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# Where PostgreSQL's data are: in DIR, unless its user can't get there.
database_dir() { cat "$dir/database.dir"; }

# Whether there is a disk in memory with room for the data of tests.
memory_has_room() {
  [ -w /dev/shm ] && [ "$(df --output=avail -B 1M /dev/shm 2> /dev/null | tail -n 1)" -ge 1024 ]
}

# The folder for PostgreSQL's data: with --fast in memory, as each test makes a database of its own.
make_database_dir() {
  local data=$dir/postgresql
  if [ -e "$dir/fast" ] && memory_has_room 2> /dev/null; then
    data=$(mktemp -d /dev/shm/profile-worker-XXXXXX)
  fi
  mkdir -p "$data"
  if [ "$(id -u)" = 0 ]; then
    chown postgres "$data"
    if ! as_database_user test -w "$data"; then
      rmdir "$data"
      data=$(mktemp -d "${TMPDIR:-/tmp}/profile-worker-XXXXXX")
      chown postgres "$data"
    fi
  fi
  printf '%s\n' "$data" > "$dir/database.dir"
}

make_database() {
  make_database_dir
  local data
  data=$(database_dir)
  if [ -n "$disk_size" ]; then mount_disk "$data"; fi
  (cd / && as_database_user "$(find_postgres initdb)" -D "$data/data" -U profile_worker --auth=trust -E UTF8 \
    --locale=C.UTF-8 --no-sync) > "$dir/initdb.out" 2>&1 || { tail -n 15 "$dir/initdb.out" >&2; die "initdb failed"; }
}

# A small disk at $1, for PostgreSQL's user.
mount_disk() {
  local owner
  owner=$(as_database_user id -u)
  if [ "$(uname)" = Linux ] && as_root_unasked mount -t tmpfs -o "size=$disk_size,uid=$owner,mode=0700" profile-worker "$1" \
    2> "$dir/mount.out"; then
    printf '%s\n' "$1" > "$dir/disk"
  else
    say "No disk of its own for PostgreSQL: that needs Linux, and root or sudo without a password"
  fi
}

# Without a question, as nobody may be there to answer it.
as_root_unasked() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

is_mounted() { grep -qs " $1 " /proc/mounts; }

unmount_disk() {
  local disk
  disk=$(cat "$dir/disk")
  if is_mounted "$disk"; then
    # Lazily, if somebody still stands in there.
    as_root_unasked umount "$disk" 2> /dev/null || as_root_unasked umount -l "$disk"
  fi
}

pg_ctl() {
  local data
  data=$(database_dir)
  (cd / && as_database_user "$(find_postgres pg_ctl)" -D "$data/data" "$@" < /dev/null > "$dir/pg_ctl.out" 2>&1)
}

start_database() {
  # shellcheck source=/dev/null
  . "$dir/ports"
  local options="-p $DATABASE_PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200"
  if [ -e "$dir/fast" ]; then options="$options -c fsync=off -c full_page_writes=off"; fi
  # Its log of transactions must fit, too.
  if [ -e "$dir/disk" ]; then options="$options -c max_wal_size=96MB -c min_wal_size=32MB"; fi
  pg_ctl -w -t 60 -o "$options" -l "$(database_dir)/log" start || {
    tail -n 15 "$(database_dir)/log" >&2
    die "PostgreSQL did not start; its log is $(database_dir)/log"
  }
}

database_runs() { [ -e "$dir/database.dir" ] && pg_ctl status; }

# Each argument is a statement; what they give is printed without a frame.
sql() {
  # shellcheck source=/dev/null
  . "$dir/ports"
  local statements=() statement
  for statement in "$@"; do statements+=(-c "$statement"); done
  "$(find_postgres psql)" -X -q -A -t -h 127.0.0.1 -p "$DATABASE_PORT" -U profile_worker -d postgres "${statements[@]}"
}

create_database() { sql 'CREATE DATABASE profile_worker' > /dev/null; }
