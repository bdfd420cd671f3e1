"""The local KMS by itself, with moto's IAM and STS beside it so that callers can be made.

    python -m emulators.kms [--port 0 | --fd N] [--region us-east-1] [--attestation-root PEM] [--records FILE]

When it can be called, it writes one line of JSON to `--ready-fd` (standard output by default): its URL and an access
key pair of a user who may do everything. Signatures are not verified, so it is bound to loopback only.
"""

import argparse
import sys
from pathlib import Path

from emulators.aws_services import AwsServices, create_operator
from emulators.clock import now_ms
from emulators.kms import LocalKms, root_in
from emulators.server import serve
from emulators.sockets import inherited, listen, port_number
from sealed import attestation

OPERATOR = "kms-operator"


def main(prog: str = "python -m emulators.kms") -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=port_number, default=0, help="a free one by default")
    parser.add_argument("--fd", type=int, help="a listening socket, instead of a port")
    parser.add_argument("--region", default="us-east-1", help="whose partition the first user belongs to [us-east-1]")
    parser.add_argument("--attestation-root", type=Path, help="PEM; it may be written later. AWS's by default")
    parser.add_argument("--records", type=Path, help="a file that grows by one line of JSON for each call")
    parser.add_argument(
        "--ready-fd", type=int, default=sys.stdout.fileno(), help="where to write the URL and the access key [1]"
    )
    options = parser.parse_args()

    root = root_in(options.attestation_root) if options.attestation_root else attestation.aws_root
    try:
        listening = inherited(options.fd) if options.fd is not None else listen(options.port)
    except OSError as error:
        parser.error(f"--port {options.port} cannot be used: {error.strerror}; name another, or none for a free one.")
    operator = create_operator(OPERATOR, options.region)
    ready = {"access_key_id": operator.access_key_id, "secret_access_key": operator.secret_access_key}
    kms = LocalKms(AwsServices(), root=root, clock=now_ms, records=options.records)
    serve(kms, listening, drain_s=1, ready_fd=options.ready_fd, ready=ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
