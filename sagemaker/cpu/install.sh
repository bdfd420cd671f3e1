#!/bin/sh
# Everything the CPU image installs. Runs the same on a developer's machine: PYTHON names the interpreter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${PYTHON:-python3}" -m pip install --no-cache-dir --disable-pip-version-check -r "$here/requirements.txt"
