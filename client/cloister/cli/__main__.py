"""`cloister`: the command line. Exit status 0: fine; 1: something was found; 2: refused, in one sentence."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cloister.cli import admin, audit, chat, doctor, enclave, keys, login, settings
from cloister.refusal import SealError

REFUSED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options.read(options, os.environ), options)
        sys.stdout.flush()
    except SealError as refusal:
        print(f"cloister: {refusal.text}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        # Whoever read the output has seen enough. What Python still holds for it must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


class _Parser(argparse.ArgumentParser):
    """Whoever names no command is shown those there are."""

    def error(self, message: str) -> NoReturn:
        if self._subparsers is None:
            super().error(message)
        self.print_help(sys.stderr)
        self.exit(REFUSED, f"\n{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    settings.add_flags(shared)
    parser: argparse.ArgumentParser = _Parser(
        prog="cloister", description="Sealed inference, and the gateway's operation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    talk = commands.add_parser("chat", parents=[shared], help="ask, sealed; without a message, a conversation")
    talk.add_argument("message", nargs="?", help="what to ask; left out: a line each from the input")
    talk.add_argument("--model", default="demo", help="the pool to ask [demo]")
    talk.add_argument("--mode", choices=("hpke", "esdk", "kms"), default="hpke", help="how to seal [hpke]")
    talk.add_argument("--max-tokens", type=int, help="at most so many tokens of answer")
    talk.set_defaults(run=chat.chat)

    entered = commands.add_parser("login", parents=[shared], help="sign in: other commands then need no key")
    entered.add_argument("--password", action="store_true", help="by mail address and password, without a browser")
    entered.set_defaults(run=login.login, signs_in=True)
    left = commands.add_parser("logout", parents=[shared], help="sign out, here and at the issuer")
    left.set_defaults(run=login.logout, signs_in=True)

    registered = commands.add_parser("keys", help="KMS keys that open the tenant's requests")
    actions = registered.add_subparsers(required=True, metavar="ACTION")
    for name, run, meaning in (
        ("register", keys.register, "prove control of a key and register it"),
        ("remove", keys.remove, "forget a key"),
    ):
        action = actions.add_parser(name, parents=[shared], help=meaning)
        action.add_argument("arn", help="the key's full ARN")
        action.set_defaults(run=run)
    actions.add_parser("list", parents=[shared], help="the registered keys").set_defaults(run=keys.show)

    shown = commands.add_parser("attest", parents=[shared], help="fetch, verify and print the enclave's measurements")
    shown.add_argument("--pool", help="whose enclave [the first one that there is]")
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.set_defaults(run=enclave.attest)

    written = commands.add_parser("policy", parents=[shared], help="print a key policy for the enclaves that you trust")
    written.add_argument("arn", help="the key's full ARN")
    written.add_argument("--principal", action="append", help="ARN of yours that seals and opens; repeatable")
    written.add_argument("--admin", action="append", help="ARN that may change the policy [the principals]; repeatable")
    written.add_argument("--enclave-role", help="ARN of the role that the enclave's host has")
    written.add_argument("--pool", help="whose enclave, where no measurements are given")
    written.set_defaults(run=enclave.policy)

    examined = commands.add_parser("doctor", parents=[shared], help="check a key's policy, and try it")
    examined.add_argument("arn", nargs="?", help="the key's full ARN [CLOISTER_KMS_KEY_ARN]")
    examined.add_argument("--json", action="store_true", help="for programs")
    examined.set_defaults(run=doctor.doctor)

    logged = commands.add_parser("audit", help="the tenant's ledger")
    audit.add(logged.add_subparsers(required=True, metavar="ACTION"), shared)

    operated = commands.add_parser("admin", help="operate a gateway: tenants, pools, keys, limits, requests")
    admin.add(operated.add_subparsers(required=True, metavar="COMMAND"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
