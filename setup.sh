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

# A download that breaks off is tried again; what has come stays in the installer's cache.
try() {
    for attempt in 1 2 3; do
        "$@" && return 0
        [ "$attempt" = 3 ] || { echo "setup: that failed, trying again ($attempt of 2)" >&2; sleep "${SETUP_WAIT_S:-5}"; }
    done
    return 1
}

echo "setup: making .venv with Python $version (about 6 GB, most of it PyTorch; minutes on a first run)"
rm -rf .venv
"$python" -m venv .venv
try .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9 || fail "uv, the installer, cannot be had: is there a network?"

# Without a GPU the build of PyTorch without CUDA is 5 GB smaller; taken where the registry has it and its torchvision.
if [ -z "$(ls /dev/nvidia[0-9]* /dev/kfd /dev/dxg 2>/dev/null)" ]; then
    cpu=$(.venv/bin/python - <<'END' || true
import re, subprocess, sys

def builds(name):
    asked = [sys.executable, "-m", "pip", "index", "versions", name]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout
    return {tuple(map(int, found)) for found in re.findall(r"(\d+)\.(\d+)\.(\d+)\+cpu", said)}

# torch 2.N goes with torchvision 0.(N + 15)
vision = builds("torchvision")
fit = [each for each in builds("torch") if (2, 10) <= each[:2] < (2, 15) and (0, each[1] + 15, each[2]) in vision]
if fit:
    major, minor, patch = max(fit)
    print(f"torch=={major}.{minor}.{patch}+cpu torchvision==0.{minor + 15}.{patch}+cpu")
END
)
    if [ -n "$cpu" ]; then
        echo "setup: no GPU here, so PyTorch without CUDA: $cpu"
        # shellcheck disable=SC2086  # two words
        try .venv/bin/python -m pip install --disable-pip-version-check $cpu || echo "setup: that build cannot be had, the usual one is taken" >&2
    fi
fi

# Compiled once, here: a search starts many processes, each of which may otherwise compile PyTorch anew.
try .venv/bin/uv pip install --compile-bytecode --python .venv/bin/python -r requirements.txt || fail "the packages cannot be had, see above; the same command goes on with what has come"

# One filter of ensembles is published as source alone: it is built where that is possible, and done without elsewhere.
if [ "$version" != 3.13 ]; then
    .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python pydensecrf2==1.1 >.venv/crf.log 2>&1 \
        || echo "setup: no dense CRF for ensembles: pydensecrf2 needs a C++ compiler and Python's headers (Debian: apt-get install g++ python$version-dev); .venv/crf.log has more"
fi
touch .venv/ready
