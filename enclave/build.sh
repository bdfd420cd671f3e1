#!/bin/bash
# Builds the enclave's image and tells its measurements.
#
#   enclave/build.sh CONFIGURATION OUTPUT_DIRECTORY
#
# CONFIGURATION is the JSON of docs/enclave.md; it is part of what is measured. Writes enclave.eif and
# measurements.json. Needs git, docker with buildx, and nitro-cli; any Linux will do, a Nitro host is not needed.
set -euo pipefail

if [[ $# -ne 2 ]]; then
    echo "usage: $0 CONFIGURATION OUTPUT_DIRECTORY" >&2
    exit 2
fi
configuration=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n $(git status --porcelain -- enclave guard sealed) ]]; then
    echo "enclave/, guard/ or sealed/ differ from the last commit: nobody else could build the same image." >&2
    exit 1
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
git archive HEAD enclave/requirements.lock enclave/'*.py' guard sealed | tar --extract --directory "$context"
install --mode 644 "$configuration" "$context/enclave.json"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct -- enclave guard sealed)
export SOURCE_DATE_EPOCH
find "$context" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
docker buildx build --file enclave/Dockerfile --build-arg SOURCE_DATE_EPOCH --provenance false --no-cache \
    --output "type=docker,name=cloister-enclave:latest,rewrite-timestamp=true" "$context"

nitro-cli build-enclave --docker-uri cloister-enclave:latest --output-file "$output/enclave.eif" \
    | tee "$output/measurements.json"
echo "Build it twice, on two machines; then sign what both say into the release manifest (docs/enclave.md)." >&2
