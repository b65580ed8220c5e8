#!/bin/sh
# Writes requirements.txt: every package pinned for Python 3.10 to 3.13, but for torch and what torch itself
# chooses (CUDA packages, triton), so that one file serves CPUs, new GPUs and the CUDA 12.6 build for V100.
set -eu
if [ ! -x .venv/bin/uv ]; then  # the set-up itself needs pins that fit pyproject.toml
    "${1:-python3}" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
fi
{
    echo "# Written by 'make lock' from pyproject.toml; do not edit."
    .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links pyproject.toml \
        | grep -vE '^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==|^ *#|^$|win32.$|emscripten.$|^trashsweep|^pydensecrf'
    echo "torch>=2.10,<2.15"
    echo "torchvision"
    echo "-e ."
} >requirements.txt.new
mv requirements.txt.new requirements.txt
