# shellcheck shell=bash
# What packaging/run, packaging/check and `tests/run bench` share.

# Builds the static program that is shipped, for an architecture: cargo-zigbuild's zig links for each.
build_static() {
    local target=$1-unknown-linux-musl
    pip_tools ziglang==0.17.0 cargo-zigbuild==0.24.0 &&
        rustup target add "$target" &&
        cargo zigbuild --locked --package graphward --profile dist --target "$target"
}

# Prints where it is then.
static_program() { echo "$CARGO_TARGET_DIR/$1-unknown-linux-musl/dist/graphward"; }

# What a program says of itself, into a folder, as an archive or a package has it. It says the same on each architecture.
share() {
    local graphward=$1 share=$2
    rm -rf "$share"
    mkdir -p "$share"/{bash-completion/completions,fish/vendor_completions.d,zsh/site-functions}
    "$graphward" man --out "$share/man/man1"
    "$graphward" completions bash >"$share/bash-completion/completions/graphward"
    "$graphward" completions fish >"$share/fish/vendor_completions.d/graphward.fish"
    "$graphward" completions zsh >"$share/zsh/site-functions/_graphward"
}
