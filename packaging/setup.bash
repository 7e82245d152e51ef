# What ./quickstart, ./run-tests, .ci/run and tests/music share: telling a person what goes on, apt, the virtual
# environment and the free music.  Sourced by them with ROOT set to the checkout; never run by itself.
#
# Everything decides by looking at what is there, not by asking a package manager again: on a machine that is set up,
# nothing here starts apt or pip.

if [ "$EUID" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    HOME=$(getent passwd "$SUDO_USER" | cut -d : -f 6) # see become_caller: only apt stays root's
fi
HOME=${HOME:-$(cd ~ && pwd)}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dejavud
export HOME PIP_DISABLE_PIP_VERSION_CHECK=1

# Free recordings that bookworm, trixie and noble have as packages: tagged CD-quality music of a game (Max McCracken,
# CC BY-SA 3.0), and where that cannot be had, music on hold (five works by three artists, CC BY-SA 3.0).
MUSIC_PACKAGES=(singularity-music asterisk-moh-opsound-wav)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' YELLOW='' PLAIN=''
fi

say() { printf '%s\n' "$@"; }
step() { printf '%s\n' "$BOLD==> $*$PLAIN"; }
warn() { printf '%s\n' "$YELLOW$*$PLAIN" >&2; }

# fail MESSAGE [MORE...]: what is wrong in colour, then what to do about it.
fail() {
    printf '%s\n' "$RED$1$PLAIN" >&2
    shift
    [ $# -eq 0 ] || printf '%s\n' "$@" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# -- apt ------------------------------------------------------------------------------------------------------------

has_root() { [ "$EUID" -eq 0 ] || has sudo; }

as_root() {
    if [ "$EUID" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# apt_get LOG ARGUMENTS...: apt-get with its words kept in LOG; waits up to APT_WAIT seconds while another program
# holds apt's locks (a fresh machine updates itself at first boot).
apt_get() {
    local log=$1 deadline=$((SECONDS + ${APT_WAIT:-60})) told=''
    shift
    while ! as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y "$@" >"$log" 2>&1 </dev/null; do
        if grep -q 'dpkg was interrupted' "$log"; then
            as_root dpkg --configure -a >>"$log" 2>&1 || return 1
        elif grep -qE 'Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock' "$log"; then
            [ "$SECONDS" -lt "$deadline" ] || return 1
            [ -n "$told" ] || say "    another program is installing packages; waiting for it to finish"
            told=yes
            sleep 2
        else
            return 1
        fi
    done
}

# explain_apt LOG WHAT: say why apt could not do it, in a person's words, and stop.
explain_apt() {
    local holder
    if grep -qE 'Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock' "$1"; then
        holder=$(grep -oE 'held by process [0-9]+( \([^)]*\))?' "$1" | head -n 1)
        fail "apt is locked${holder:+, $holder}, and stayed so for ${APT_WAIT:-60} s." \
            "Wait for that program to finish (or end it), then run this again."
    elif grep -qE 'Temporary failure resolving|Could not resolve|Could not connect|Connection (failed|timed out)' "$1"; then
        fail "This machine cannot reach its package servers: apt could not fetch $2." \
            "Check the network, then run this again. What apt said:" "$(grep -E '^(E|W|Err):?' "$1" | head -n 4)"
    fi
    fail "apt could not install $2. What it said:" "$(grep -vE '^(Get|Hit|Ign|Reading|Building)' "$1" | tail -n 12)"
}

# install_packages: install what `need` found missing.
MISSING=()
need() { # need PACKAGE COMMAND...: PACKAGE is missing unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || MISSING+=("$package")
}

install_packages() {
    [ ${#MISSING[@]} -gt 0 ] || return 0
    has apt-get || fail "This needs ${MISSING[*]}, and there is no apt-get here." \
        "Install them the way this system does, then run this again."
    has_root || fail "Packages are missing, and there is no sudo to install them with." \
        "As root, run: apt-get install ${MISSING[*]}" "and then this again as yourself."
    step "Installing ${MISSING[*]} (apt)"
    local log
    log=$(mktemp)
    # A broken third-party source fails the update and not what we need: the install decides.
    apt_get "$log" update || ! grep -qE 'Could not get lock|Unable to lock' "$log" || explain_apt "$log" "${MISSING[*]}"
    apt_get "$log" install --no-install-recommends "${MISSING[@]}" || explain_apt "$log" "${MISSING[*]}"
    rm -f "$log"
    MISSING=()
}

# servers_stay_off COMMAND...: run COMMAND, which installs packages, without any service of theirs being started.
servers_stay_off() (
    policy=/usr/sbin/policy-rc.d # what Debian's packages ask before they start a service; a container may have its own
    if [ ${#MISSING[@]} -gt 0 ] && has_root && [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    fi
    "$@"
)

# -- Python ---------------------------------------------------------------------------------------------------------

# find_python: set PYTHON to an interpreter that the project runs on and that can make virtual environments.
find_python() {
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
        has "$PYTHON" && "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
            return
    done
    PYTHON=
    return 1
}

ensure_python() {
    find_python && return
    MISSING=(python3 python3-venv)
    install_packages
    find_python || fail "This needs Python 3.11 or later, and this system has $(python3 --version 2>&1)." \
        "Debian 12, Ubuntu 24.04 and later have it; or put a newer python3 first in PATH."
}

# ensure_packages: what only root can provide.  PyAudio is built from source: what that takes is asked for until it is built.
ensure_packages() {
    choose_venv
    ! "$VENV/bin/python" -c 'import pyaudio' 2>/dev/null || return 0
    local include
    ensure_python
    include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    need gcc has gcc
    need libc6-dev test -e /usr/include/stdlib.h
    need python3-dev test -e "$include/Python.h"
    need portaudio19-dev test -e /usr/include/portaudio.h
    install_packages
}

# choose_venv: set VENV to where the environment is or will be: in the checkout where that can be written to.
choose_venv() {
    if [ -w "$ROOT" ]; then
        VENV=$ROOT/.venv EDITABLE=(-e)
    else
        VENV=$CACHE/venv EDITABLE=()
    fi
}

# ensure_venv: make VENV unless it and its pip work (an interrupted run may have left half of one).
ensure_venv() {
    local words works='import sys; sys.exit(sys.version_info < (3, 11))'
    local groups='import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))'
    if ! "$VENV/bin/python" -c "$works" 2>/dev/null || ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        ensure_python
        step "Making a virtual environment in $VENV ($("$PYTHON" --version))"
        mkdir -p "$(dirname "$VENV")"
        words=$("$PYTHON" -m venv --clear "$VENV" 2>&1) || fail "Python could not make it:" "$words"
    fi
    # Dependency groups came with pip 25.1; Debian 12 has an older one.
    "$VENV/bin/python" -c "$groups" || pip_install --upgrade 'pip>=25.1' || fail "pip could not renew itself (above is why)."
}

# pip_install ARGUMENTS...: pip, quiet when all goes well, and clear when the network is away.
pip_install() {
    local log
    log=$(mktemp)
    if "$VENV/bin/python" -m pip install --quiet "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    if grep -qE 'Temporary failure in name resolution|Name or service not known|NewConnectionError|Network is unreachable|Max retries' "$log"; then
        tail -n 3 "$log" >&2
        fail "pip cannot reach its package index." "Check the network (and PIP_CERT or pip's conf behind a proxy), then run this again."
    fi
    tail -n 15 "$log" >&2
    rm -f "$log"
    return 1
}

# project_digest: what has to change for the project to be installed anew.
project_digest() {
    cd "$ROOT"
    if [ ${#EDITABLE[@]} -gt 0 ]; then
        sha256sum pyproject.toml dejavud/__init__.py
    else
        find pyproject.toml dejavud clients -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    fi | sha256sum
}

# once STAMP COMMAND...: run COMMAND unless it succeeded before in this VENV, at this place, for this state of the project.
once() {
    local stamp=$VENV/$1 state
    state="$VENV $(project_digest)"
    shift
    [ "$(cat "$stamp" 2>/dev/null)" != "$state" ] || return 0
    "$@" || return
    printf '%s\n' "$state" >"$stamp"
}

install_project() {
    step "Installing dejavud into $VENV (pip)"
    if ! pip_install ${EDITABLE[@]+"${EDITABLE[@]}"} "$ROOT[mic,plots,hooks]"; then
        warn "PyAudio could not be built (above is why): going on without the microphone; everything else works."
        pip_install ${EDITABLE[@]+"${EDITABLE[@]}"} "$ROOT[plots,hooks]" || fail "pip could not install dejavud (above is why)."
    fi
}

# become_caller ARGUMENTS...: under sudo, go on as the person who called it, so that the environment, the library and the
# daemon's sockets are theirs; root was for the packages, which are there by now.
become_caller() {
    [ "$EUID" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] || return 0
    local runtime=/run/user/$SUDO_UID
    [ ! -d "$runtime" ] || export XDG_RUNTIME_DIR=$runtime
    exec runuser -u "$SUDO_USER" -- env -u SUDO_USER "$ROOT/$(basename "$0")" "$@"
}

# ensure_project ARGUMENTS...: VENV with the project and its microphone in it, one run at a time.  The arguments are the
# script's own: under sudo it is started again as the caller.
ensure_project() {
    ensure_packages
    become_caller "$@"
    choose_venv
    mkdir -p "$CACHE"
    exec 9>"$CACHE/setup.lock"
    flock 9
    ensure_venv
    once .installed-project install_project
    exec 9>&-
}

# -- music ----------------------------------------------------------------------------------------------------------

# fetch_music: set MUSIC to a folder of free recordings, fetched the first time; nothing is installed for it.
fetch_music() {
    local package log
    mkdir -p "$CACHE/music"
    for package in "${MUSIC_PACKAGES[@]}"; do
        MUSIC=$CACHE/music/$package
        [ ! -d "$MUSIC" ] || return 0
    done
    has apt-get || fail "There is no apt-get here to fetch free music with." "Give a folder of your own music instead."
    log=$(mktemp)
    for package in "${MUSIC_PACKAGES[@]}"; do
        MUSIC=$CACHE/music/$package
        step "Fetching free music: the package $package (not installed, kept in $MUSIC)"
        ! unpack_package "$package" "$MUSIC" "$log" || return 0
        warn "    it could not be had; trying the next"
    done
    explain_apt "$log" "free music; give a folder of your own music instead"
}

# unpack_package PACKAGE FOLDER LOG: the package's files in FOLDER, all of them or no FOLDER.
unpack_package() {
    local package=$1 folder=$2 log=$3 partial=$2.partial
    rm -rf "$partial"
    mkdir -p "$partial"
    if ! apt_download "$partial" "$package" "$log"; then
        has_root && apt_get "$log" update || true # a machine without package lists, or with old ones
        apt_download "$partial" "$package" "$log" || return 1
    fi
    dpkg-deb -x "$partial"/*.deb "$partial/files" && chmod 755 "$partial/files" && mv "$partial/files" "$folder" &&
        rm -rf "$partial"
}

apt_download() {
    (cd "$1" && LC_ALL=C apt-get -q -o APT::Sandbox::User="$(id -un)" download "$2" >"$3" 2>&1 </dev/null)
}
