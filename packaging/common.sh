# shellcheck shell=bash
# What packaging/run and packaging/check share.

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
