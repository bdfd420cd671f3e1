"""The local Bedrock by itself.

    python -m emulators.bedrock [--port 0] [--model-url http://127.0.0.1:8080/v1] [--keys FILE]

When it can be called, it writes one line of JSON to `--ready-fd` (standard output by default): its URL, and an API key
and an access key pair that it lets in. It is bound to loopback only: whoever reaches it may command it.
"""

import argparse
import secrets
import sys
import uuid
from pathlib import Path

import msgspec

from emulators.bedrock.asgi import LocalBedrock
from emulators.bedrock.callers import AccessKey, Bearer, Keys
from emulators.bedrock.control import Control
from emulators.bedrock.demo_model import DemoModel
from emulators.bedrock.echo import Echo
from emulators.bedrock.guardrail import Guardrail
from emulators.bedrock.management import Management
from emulators.bedrock.runtime import Runtime
from emulators.clock import now_ms
from emulators.server import serve
from emulators.sockets import inherited, listen, port_number

ACCOUNT = "123456789012"


class GuardrailFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `--guardrails` names: those that there are from the start."""

    guardrails: tuple[Guardrail, ...]


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `--keys` names: keys that are let in from the start."""

    bearers: tuple[Bearer, ...] = ()
    access_keys: tuple[AccessKey, ...] = ()


def main(prog: str = "python -m emulators.bedrock") -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=port_number, default=0, help="a free one by default")
    parser.add_argument("--fd", type=int, help="a listening socket, instead of a port")
    parser.add_argument("--region", default="us-east-1", help="which callers with an API key call [us-east-1]")
    parser.add_argument("--account", default=ACCOUNT, help=f"whose profiles these are [{ACCOUNT}]")
    parser.add_argument("--model-url", help="an OpenAI-compatible server, up to /v1; without one, models echo")
    parser.add_argument("--model", default="demo", help="what that server calls the model [demo]")
    parser.add_argument("--keys", type=Path, help='JSON: {"bearers": [{"key"}], "access_keys": [{"access_key_id", …}]}')
    parser.add_argument("--guardrails", type=Path, help='JSON: {"guardrails": [{"id", "version", "words", …}]}')
    parser.add_argument("--ready-fd", type=int, default=sys.stdout.fileno(), help="where to write URL and keys [1]")
    options = parser.parse_args()

    bearer = Bearer(f"local-{secrets.token_urlsafe(24)}")
    access_key = AccessKey(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
    try:
        given = msgspec.json.decode(options.keys.read_bytes(), type=KeyFile) if options.keys else KeyFile()
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"--keys {options.keys} cannot be read: {error}")
    try:
        given_guardrails = _guardrails(options.guardrails) if options.guardrails else ()
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"--guardrails {options.guardrails} cannot be read: {error}")
    try:
        listening = inherited(options.fd) if options.fd is not None else listen(options.port)
    except OSError as error:
        parser.error(f"--port {options.port} cannot be used: {error.strerror}; name another, or none for a free one.")
    keys = Keys(
        {each.access_key_id: each for each in (access_key, *given.access_keys)},
        {each.key: each for each in (bearer, *given.bearers)},
    )
    control = Control(keys, given_guardrails)
    model = DemoModel(options.model_url, options.model) if options.model_url else Echo()
    bedrock = LocalBedrock(
        control,
        Runtime(model, control, options.account, now_ms, uuid.uuid4),
        Management(control, options.account, now_ms, uuid.uuid4),
        region=options.region,
        clock=now_ms,
        new_id=uuid.uuid4,
    )
    ready = {
        "bearer": bearer.key,
        "access_key_id": access_key.access_key_id,
        "secret_access_key": access_key.secret_access_key,
    }
    serve(bedrock, listening, drain_s=1, ready_fd=options.ready_fd, ready=ready)
    return 0


def _guardrails(path: Path) -> tuple[Guardrail, ...]:
    return msgspec.json.decode(path.read_bytes(), type=GuardrailFile).guardrails


if __name__ == "__main__":
    sys.exit(main())
