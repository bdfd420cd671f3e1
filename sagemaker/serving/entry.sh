#!/bin/sh
# Starts the container's program, in an image or beside a checkout. SageMaker runs the image as `docker run IMAGE serve`.
# Everything is a flag or an environment variable of `python -m serving`: see docs/container.md.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# In an image `sealed` and `bounds` are beside `serving`, in a checkout they are beside `sagemaker`.
[ -d "$root/sealed" ] || root="$root:$(dirname "$root")"
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python3}" -m serving "$@"
