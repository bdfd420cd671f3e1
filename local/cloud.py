"""The local cloud: one process, one port, every AWS service that the gateway calls.

    python -m local.cloud --endpoints FILE [--port 0 | --fd N] [--region us-east-1] [--ready-fd N]

When it can be called, it writes one line of JSON to `--ready-fd` (standard output by default): its URL and an
access key pair that exists in its IAM. Signatures are not verified: whoever reaches the port is let in, so it is bound
to loopback only.
"""

import argparse
import sys
from pathlib import Path

from local import endpoints
from local.asgi_server import serve
from local.aws_services import ACCOUNT, AwsServices, create_operator
from local.sagemaker_runtime import INVOCATION, Receive, SageMakerRuntime, Scope, Send
from local.sockets import inherited, listen

OPERATOR = "cloister-operator"


class Cloud:
    """An ASGI application: the SageMaker runtime by its paths, everything else is moto's."""

    def __init__(self, runtime: SageMakerRuntime, services: AwsServices) -> None:
        self._runtime = runtime
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        service = self._runtime if INVOCATION.fullmatch(scope["path"]) else self._services
        await service(scope, receive, send)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.cloud", description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=Path, help="which SageMaker endpoint is which container (JSON)")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--fd", type=int, help="a listening socket, instead of a port")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()

    known = endpoints.read(options.endpoints) if options.endpoints else {}
    listening = inherited(options.fd) if options.fd is not None else listen(options.port)
    access_key_id, secret_access_key = create_operator(OPERATOR, options.region)
    ready = {"access_key_id": access_key_id, "secret_access_key": secret_access_key}
    cloud = Cloud(SageMakerRuntime(known, options.region, ACCOUNT), AwsServices())
    serve(cloud, listening, drain_s=1, ready_fd=options.ready_fd, ready=ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
