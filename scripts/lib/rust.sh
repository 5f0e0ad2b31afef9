# Rust for the scripts that call cargo: `need_rust` finds one that is new enough, or puts one into
# .local/rust. A user's own that is too old stays as it is. Parts have cargo's names: 'fmt clippy'.
# shellcheck shell=bash

# shellcheck source=scripts/lib/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

# What is installed: the version of the Dockerfile, by this release of rustup.
rust_version=1.95.0
rustup_version=1.29.0
rust_folder=$local_folder/rust
# What is needed.
rust_oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$project/Cargo.toml")

# Whether the Rust in PATH is new enough and has these parts.
has_rust() {
  local version part
  version=$(rustc --version 2> /dev/null) && cargo --version > /dev/null 2>&1 || return 1
  version=${version#rustc }
  printf '%s\n' "$rust_oldest" "${version%% *}" | sort -V -C || return 1
  for part in $1; do cargo "$part" --version > /dev/null 2>&1 || return 1; done
}

# Puts a Rust that will do into PATH: the user's own, also where this shell does not know of it yet;
# or ours, without the programs of rustup, so that its settings don't matter.
find_rust() {
  local path=$PATH place
  has_rust "$1" && return 0
  for place in "${CARGO_HOME:-${HOME:-}/.cargo}/bin" "$rust_folder"/toolchains/*/bin; do
    [ -x "$place/cargo" ] || continue
    PATH=$place:$path
    if has_rust "$1"; then keep_crates; return 0; fi
  done
  PATH=$path
  return 1
}

# Cargo keeps its settings and the sources of crates in ~/.cargo: if the user has none, in .local.
keep_crates() {
  if [ -z "${CARGO_HOME:-}" ] && [ ! -e "${HOME:-}/.cargo" ]; then
    export CARGO_HOME=$local_folder/cargo
  fi
}

# The compiler comes without the C library's headers, unless somebody asks for these.
has_compiler() { echo '#include <stdlib.h>' | cc -x c -fsyntax-only - > /dev/null 2>&1; }

# What packages are missing for Rust with these parts, and for its installation.
packages_for_rust() {
  has_compiler || printf '%s\n' gcc libc6-dev
  find_rust "$1" && return 0
  command -v curl > /dev/null || echo curl
  if [ -e /etc/debian_version ] && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
    echo ca-certificates
  fi
}

no_rust() {
  give_up "can't install Rust: $*. Install $rust_oldest or later yourself (https://rustup.rs)"
}

# In a folder of its own until it is complete, so that it may be interrupted, or done twice at once.
install_rust() (
  # The checksums are those of rustup's release.
  case "$(uname -sm)" in
    'Linux x86_64')
      target=x86_64-unknown-linux-gnu
      checksum=4acc9acc76d5079515b46346a485974457b5a79893cfb01112423c89aeb5aa10
      ;;
    'Linux aarch64')
      target=aarch64-unknown-linux-gnu
      checksum=9732d6c5e2a098d3521fca8145d826ae0aaa067ef2385ead08e6feac88fa5792
      ;;
    *) no_rust "not known for $(uname -sm)" ;;
  esac
  server=${RUSTUP_DIST_SERVER:-https://static.rust-lang.org}
  url=${RUSTUP_UPDATE_ROOT:-$server/rustup}/archive/$rustup_version/$target/rustup-init
  log=$local_folder/rust.log
  say "Installing Rust $rust_version by rustup: 150 MB from $server, 650 MB in .local/rust"
  mkdir -p "$local_folder"
  new=$(mktemp -d "$rust_folder-XXXXXX")
  trap 'rm -rf "$new"' EXIT
  curl --fail --silent --show-error --location --connect-timeout 20 --retry 2 \
    --output "$new/rustup-init" "$url" 2> "$log" || no_rust "$(tail -n 1 "$log")"
  echo "$checksum  $new/rustup-init" | sha256sum --check --status \
    || no_rust "what $url gives has another checksum"
  chmod +x "$new/rustup-init"
  env RUSTUP_HOME="$new" CARGO_HOME="$new/cargo" RUSTUP_INIT_SKIP_PATH_CHECK=yes \
    "$new/rustup-init" -y --no-modify-path --default-host "$target" --profile minimal \
    --default-toolchain "$rust_version" --component rustfmt --component clippy \
    > "$log" 2>&1 < /dev/null || no_rust "$(grep -m 1 '^error' "$log" || tail -n 1 "$log")"
  rm -rf "$rust_folder" "$new/rustup-init"
  mv -T "$new" "$rust_folder"
)

# Puts Rust into PATH.
need_rust() { need_rust_with ''; }

# Rust with these parts.
need_rust_with() {
  # shellcheck disable=SC2046 # one word for each package
  need_packages $(packages_for_rust "$1")
  find_rust "$1" && return 0
  install_rust
  find_rust "$1" || no_rust "what rustup has installed does not run"
}

# From here on cargo has our crates compiled by Clippy, with warnings as errors (scripts/check).
compile_with_lints() {
  export RUSTC_WORKSPACE_WRAPPER=$project/scripts/lib/rustc RUSTDOC=$project/scripts/lib/rustdoc
}
