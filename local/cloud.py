"""The local cloud: one process, one port, every AWS service that the gateway calls, and the judge of its callers.

    python -m local.cloud --endpoints FILE [--attestation-root PEM] [--records FILE] [--kept FILE] [--people FILE]
                          [--mails FOLDER]
                          [--gateway URL] [--port 0 | --fd N] [--region us-east-1] [--ready-fd N]

When it can be called, it writes one line of JSON to `--ready-fd` (standard output by default): its URL, the access keys
of its account's principals, the keys in its KMS, its user pool and that pool's issuer. Signatures on calls of its
services are not verified: whoever reaches the port is let in, so it is bound to loopback only.
"""

import argparse
import sys
from pathlib import Path

from moto.utilities.utils import get_partition

from emulators.asgi import Application, Receive, Scope, Send
from emulators.aws_services import ACCOUNT, AwsServices
from emulators.clock import now_ms
from emulators.cognito import LocalCognito
from emulators.dynamodb import Rows
from emulators.iam import principals
from emulators.iam.authoriser import JUDGED_AT
from emulators.iam.judge import Door, Judge
from emulators.keeping import Kept, OtherVersion
from emulators.kms import LocalKms, root_in
from emulators.sagemaker_runtime import endpoints
from emulators.sagemaker_runtime.asgi import INVOCATION, SageMakerRuntime
from emulators.security_module import PCRS
from emulators.server import serve
from emulators.ses.asgi import SEND_EMAIL, LocalSes
from emulators.sockets import inherited, listen, url
from local import account, user_pool
from sealed import attestation


class Cloud:
    """An ASGI application: the SageMaker runtime and the judge by path, and all others behind Cognito."""

    def __init__(self, runtime: SageMakerRuntime, judge: Door, services: LocalCognito, mails: LocalSes) -> None:
        self._runtime = runtime
        self._judge = judge
        self._services = services
        self._mails = mails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await self._service(scope["path"])(scope, receive, send)

    def _service(self, path: str) -> Application:
        if path == JUDGED_AT:
            return self._judge
        if path == SEND_EMAIL:
            return self._mails
        return self._runtime if INVOCATION.fullmatch(path) else self._services


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.cloud", description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=Path, help="which SageMaker endpoint is which container (JSON)")
    parser.add_argument("--attestation-root", type=Path, help="the root of security modules; AWS's by default")
    parser.add_argument("--records", type=Path, help="a line for each use of a key of KMS")
    parser.add_argument("--kept", type=Path, help="a file that keeps what is made here; by default it ends with this")
    parser.add_argument("--people", type=Path, help="a file that keeps who can sign in; by default it ends with this")
    parser.add_argument("--mails", type=Path, help="a folder that mails are delivered to; nowhere by default")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="where browsers come back to")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--fd", type=int, help="a listening socket, instead of a port")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()

    try:
        kept = Kept(options.kept)
    except OtherVersion as problem:
        print(problem, "Start with --fresh to forget it.", file=sys.stderr)
        return 1
    known = endpoints.read(options.endpoints) if options.endpoints else {}
    listening = inherited(options.fd) if options.fd is not None else listen(options.port)
    made: account.Account = kept.beside(lambda: account.opened(options.region, PCRS[0].hex()))
    root = root_in(options.attestation_root) if options.attestation_root else attestation.aws_root
    kms = LocalKms(AwsServices(kept), root=root, clock=now_ms, records=options.records)
    judge = Door(Judge(principals.find, ACCOUNT, now_ms))
    people = Rows(options.people)
    cognito = LocalCognito(
        kms,
        people,
        url=url(listening),
        account=ACCOUNT,
        region=options.region,
        partition=get_partition(options.region),
        clock=now_ms,
    )
    with people.at_once():
        pool = user_pool.opened(cognito.administration, options.gateway)
    cloud = Cloud(SageMakerRuntime(known, options.region, ACCOUNT), judge, cognito, LocalSes(options.mails))
    ready = made.told() | pool.told() | {"issuer": f"{url(listening)}/{pool.pool}"}
    serve(cloud, listening, drain_s=1, ready_fd=options.ready_fd, ready=ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
