#!/bin/sh
# Makes .venv from the pins of requirements.txt. Says in one line what is missing on the machine.
set -eu
python=${1:-python3}
fail() { echo "setup: $1" >&2; exit 1; }

command -v "$python" >/dev/null || fail "$python is not found: install Python 3.10 to 3.13, or name one: make PYTHON=python3.12 ..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.10|3.11|3.12|3.13) ;;
    *) fail "Python $version is not supported, 3.10 to 3.13 are: name one, as in make PYTHON=python3.12 ..." ;;
esac
"$python" -c 'import ensurepip' 2>/dev/null || fail "$python has no venv module: install it (Debian: apt-get install python$version-venv)"
if [ "$version" != 3.13 ]; then  # pydensecrf2, which is left out on 3.13, is published as source only
    command -v "${CXX:-c++}" >/dev/null || fail "no C++ compiler (${CXX:-c++}): install one (Debian: apt-get install g++), it builds pydensecrf2"
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
        || fail "Python.h is missing for $python: install the headers (Debian: apt-get install python$version-dev), pydensecrf2 builds against them"
fi

echo "setup: making .venv with Python $version (about 6 GB, most of it PyTorch; minutes on a first run)"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
# Compiled once, here: a search starts many processes, each of which may otherwise compile PyTorch anew.
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements.txt
touch .venv/ready
