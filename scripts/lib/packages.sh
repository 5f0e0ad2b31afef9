# What scripts say, how they give up, and how they install packages of Debian: read by most of them.
# shellcheck shell=bash

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where everything goes that is not a package of the system.
local_folder=$project/.local

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

# Where set-up can't go on: one line that says what to do, and which way needs no set-up.
give_up() {
  say "$0: $*. Or: docker compose up -d --build --wait, which needs none of it."
  exit 69
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Whether sudo asks for nothing, or has somebody to ask.
can_sudo() {
  command -v sudo > /dev/null && { sudo -n true || : < /dev/tty; } 2> /dev/null
}

# Whether apt-get is there and may be used.
can_install() { command -v apt-get > /dev/null && { [ "$(id -u)" = 0 ] || can_sudo; }; }

# Installs packages. They would start services of their own; a policy for the time of the
# installation, if the system has none, says no to that.
install_packages() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null || exit 1
    trap 'as_root rm -f "$policy"' EXIT
    as_root chmod 755 "$policy"
  fi
  # A machine that has just started may be busy with its own upgrades.
  as_root apt-get update -qq > /dev/null \
    && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      -o DPkg::Lock::Timeout=300 "$@" > /dev/null
)

# These packages are missing: installs them, or gives up.
need_packages() {
  [ $# -gt 0 ] || return 0
  if ! command -v apt-get > /dev/null; then
    give_up "missing are, by Debian's names: $*. Install them, for example with dnf or brew"
  fi
  can_install || give_up "this user may not install what is missing. As root: apt-get install $*"
  say "Installing with apt-get: $* (services are not started)"
  local log=$local_folder/apt.log
  mkdir -p "$local_folder"
  install_packages "$@" > "$log" 2>&1 \
    || give_up "can't install $* ($(first_error "$log")). See to apt-get or the network first"
}

# Of apt-get: what it could not fetch, or what else it says.
first_error() {
  grep -m 1 -e '^W: Failed to fetch' -e '^E: ' "$1" || tail -n 1 "$1"
}
