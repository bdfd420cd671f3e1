#!/bin/bash
# Starts the enclave on its parent and stays until it has ended, so that systemd can start it again.
#
#   run.sh EIF [CPUS] [MEMORY_MIB] [CID]
#
# Never with --debug-mode: then PCR0 to PCR2 are zero, and neither KMS nor a container believes such an enclave.
set -euo pipefail

eif=${1:?usage: run.sh EIF [CPUS] [MEMORY_MIB] [CID]}
cpus=${2:-2}
memory_mib=${3:-2048}
cid=${4:-16}

enclave_id=$(nitro-cli run-enclave --enclave-name cloister --eif-path "$eif" --cpu-count "$cpus" \
    --memory "$memory_mib" --enclave-cid "$cid" | jq --exit-status --raw-output .EnclaveID)
trap 'nitro-cli terminate-enclave --enclave-id "$enclave_id"' EXIT
trap 'exit 0' TERM INT

while nitro-cli describe-enclaves | jq --exit-status --arg id "$enclave_id" \
    'any(.[]; .EnclaveID == $id and .State == "RUNNING")' > /dev/null; do
    sleep 5 &
    wait $!
done
echo "The enclave $enclave_id runs no more." >&2
exit 1
