#!/bin/sh
# Starts the container's program, in an image or beside a checkout. SageMaker runs the image as `docker run IMAGE serve`.
# Everything is a flag or an environment variable of `python -m serving`: see docs/container.md.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python3}" -m serving "$@"
