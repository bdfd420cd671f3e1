#!/bin/bash
# What the streaming function runs: the Lambda Web Adapter starts this instead of Python's own runtime client,
# and forwards what API Gateway sends to the port. Goes together with the bridge.
set -euo pipefail
cd "$LAMBDA_TASK_ROOT"
exec python3 -m chalicelib.http.server --port "$AWS_LWA_PORT"
