# shellcheck shell=bash
# What tests/clients/run and tests/page/run share; they source it after tests/common.sh.

# Proxy and CA variables are for the installation, not for the clients.
clean_env=(env -u http_proxy -u https_proxy -u all_proxy -u no_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY -u NO_PROXY
    -u SSL_CERT_FILE -u SSL_CERT_DIR -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE -u NODE_EXTRA_CA_CERTS)

# Checks that the pins are those of the last installation.
installed() { cmp -s "$1" "$2/installed"; }

# Installs the packages that a folder with a package-lock.json pins into another folder, below cargo's target folder.
npm_packages() {
    local pins=$1/package-lock.json modules=$1/node_modules folder=$2
    { has node && has npm; } || apt_get nodejs npm
    # Node searches packages beside the file that imports them.
    { [ -d "$modules" ] && [ ! -L "$modules" ]; } || ln -sfn "$folder/node_modules" "$modules"
    installed "$pins" "$folder" && return
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$1/package.json" "$pins" "$folder"
    (cd "$folder" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$pins" "$folder/installed"
}

# Runs tests, whose output goes to a log too, and prints a result line like cargo's, which tests/run sums up. pytest prints
# `3 passed, 1 failed in …`, node `pass 3` and `fail 1`.
counted() {
    local language=$1 log=$2 result=0
    shift 2
    timeout 300 "${clean_env[@]}" "$@" 2>&1 | tee "$log" || result=1
    awk -v language="$language" '
        / in [0-9.]+s/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed = $(i - 1)
                if ($i ~ /^(failed|error)/) failed += $(i - 1)
            }
        }
        NF > 1 && $(NF - 1) == "pass" { passed = $NF }
        NF > 1 && $(NF - 1) ~ /^(fail|cancelled)$/ { failed += $NF }
        END {
            word = failed ? "FAILED" : "ok"
            printf "\ntest result: %s. %d passed; %d failed; %s\n", word, passed, failed, language
        }
    ' "$log"
    return $result
}

# Builds graphward unless GRAPHWARD names a program.
build_graphward() {
    [ -n "${GRAPHWARD:-}" ] || cargo build --locked --quiet
    export GRAPHWARD=${GRAPHWARD:-$CARGO_TARGET_DIR/debug/graphward}
}
