# shellcheck shell=bash
# Shared by the scripts beside it: what they say, and what they need to be installed. Sourced, not run.

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# Talks on stderr, so that stdout stays data.
say() { printf '%s\n' "$*" >&2; }

# Makes sure that programs are there: need PROGRAM=PACKAGE[,PACKAGE]...
need() {
    local pair packages missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 && continue
        IFS=, read -ra packages <<<"${pair#*=}"
        missing+=("${packages[@]}")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "missing: ${missing[*]}"
        say "install them and run this again; on Debian: sudo apt-get install ${missing[*]}"
        exit 1
    fi
    say "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >&2; then
        say "apt-get could not install: ${missing[*]}"
        exit 1
    fi
}

# git and tmux are what rig works with; a C compiler is what its SQLite and its TLS are built with.
need_programs() { need git=git tmux=tmux cc=gcc,libc6-dev; }

# Finds cargo where rustup puts it when the shell does not know it yet.
need_cargo() {
    command -v cargo >/dev/null 2>&1 || PATH="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH"
    export PATH
    command -v cargo >/dev/null 2>&1 && return 0
    say "missing: cargo; install a Rust toolchain (https://rustup.rs) and run this again"
    exit 1
}

# The claude program that its tests run; versions differ in their hooks and screens.
claude_version=2.1.329

# Makes sure that the claude program of that version is in the build folder, from npm, and prints its path.
install_claude() {
    local folder program
    folder=$(target_folder)/claude-$claude_version
    program=$folder/node_modules/.bin/claude
    if [ "$("$program" --version 2>/dev/null | cut -d ' ' -f 1)" != "$claude_version" ]; then
        need node=nodejs npm=npm
        say "installing claude $claude_version into $folder"
        mkdir -p -- "$folder"
        npm install --prefix "$folder" --no-save --no-audit --no-fund --loglevel=error \
            "@anthropic-ai/claude-code@$claude_version" >&2
        if [ "$("$program" --version | cut -d ' ' -f 1)" != "$claude_version" ]; then
            say "$program is not version $claude_version"
            return 1
        fi
    fi
    printf '%s\n' "$program"
}

# Prints the folder that cargo builds into.
target_folder() {
    cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
