#!/bin/bash
# What the streaming function runs: the Lambda Web Adapter starts this instead of Python's own runtime client,
# and forwards what API Gateway sends to the port. Goes together with the bridge.
set -euo pipefail
cd "$LAMBDA_TASK_ROOT"
# The adapter drops idle connections after 4 s; a server that keeps them longer never closes one that is being taken.
exec python3 -m uvicorn chalicelib.http.bridge:application --host 127.0.0.1 --port "$AWS_LWA_PORT" \
  --loop asyncio --http httptools --ws none --timeout-keep-alive 60 --no-access-log --no-server-header --log-level warning
