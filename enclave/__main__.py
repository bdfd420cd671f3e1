"""`python -m enclave --config FILE --listen vsock:PORT`, as the enclave's image starts it."""

import argparse
import sys
from pathlib import Path

from enclave import configuration, listener, program
from enclave.attested_kms import NoCredentials
from enclave.configuration import BadConfiguration
from enclave.listener import BadAddress
from enclave.security_module import ModuleFailed, NitroSecurityModule


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m enclave", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the configuration, part of the measured image")
    parser.add_argument("--listen", default="vsock:7443", help="vsock:PORT or unix:PATH")
    arguments = parser.parse_args()
    try:
        read = configuration.read(arguments.config)
        module = NitroSecurityModule.open()
        program.serve(read, module, listener.listen(arguments.listen), ready=_say_ready)
    except (BadConfiguration, BadAddress, ModuleFailed, NoCredentials, OSError, ValueError) as error:
        print(f"The enclave cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _say_ready() -> None:
    print('{"outcome":"ready"}', flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
