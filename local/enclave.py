"""The enclave's own program on a simulated security module: everything but the walls.

    python -m local.enclave (--socket PATH | --fd N) --configuration FILE [--authority PEM] [--root-out PEM]
                            [--ready-fd N]

When containers are answered, it writes one line of JSON to `--ready-fd` (standard output by default): its address and
its PCR0. Without `--authority` its module stands under a new root, which `--root-out` takes.
"""

import argparse
import sys
from pathlib import Path

from emulators.clock import now_ms
from emulators.security_module import PCRS, Authority, SimulatedSecurityModule
from emulators.server import tell
from emulators.sockets import inherited
from enclave import configuration, listener, program
from enclave.attested_kms import NoCredentials
from enclave.configuration import BadConfiguration


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.enclave", description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="where to listen")
    where.add_argument("--fd", type=int, help="a listening socket, instead of a path")
    parser.add_argument("--configuration", type=Path, required=True, help="as an image holds it, see docs/enclave.md")
    parser.add_argument("--authority", type=Path, help="what stands behind the security module; by default a new one")
    parser.add_argument("--root-out", type=Path, help="a file for the root's certificate: what verifiers trust")
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno())
    options = parser.parse_args()
    authority = Authority.read(options.authority.read_bytes()) if options.authority else Authority.made(now_ms())
    if options.root_out:
        options.root_out.write_bytes(authority.root_pem())
    listening = inherited(options.fd) if options.fd is not None else listener.listen(f"unix:{options.socket}")
    ready = {"address": f"unix:{listening.getsockname()}", "pcr0": PCRS[0].hex()}
    module = SimulatedSecurityModule(authority, clock=now_ms)
    try:
        read = configuration.read(options.configuration)
        program.serve(read, module, listening, ready=lambda: tell(options.ready_fd, ready))
    except (BadConfiguration, NoCredentials) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
