#!/bin/sh
# Everything the CPU image installs. Runs the same on a developer's machine: PYTHON names the interpreter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# llama.cpp needs GNU's OpenMP, which slim images leave out.
if ! ldconfig -p | grep -q libgomp.so.1; then
    apt-get update
    apt-get install --yes --no-install-recommends libgomp1
    rm -rf /var/lib/apt/lists/*
fi
exec "${PYTHON:-python3}" -m pip install --no-cache-dir --disable-pip-version-check -r "$here/requirements.txt"
