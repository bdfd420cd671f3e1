"""`cloister audit verify`: is the tenant's ledger what was written, and what was signed of it?"""

import argparse
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cloister.audit import Day, Entry, SignedHead, Verified
from cloister.audit import verify as verified
from cloister.cli.gateway import TIMEOUT_S, GatewayRefused, ask
from cloister.cli.settings import Settings
from cloister.clock import now_ms
from cloister.refusal import NotConfigured


def add(actions: Any, shared: argparse.ArgumentParser) -> None:
    """The command's flags."""
    action = actions.add_parser("verify", parents=[shared], help="check each day's entries, and name the first bad one")
    action.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY", help="as 2026-11-01, in UTC")
    action.add_argument("--to", dest="last", type=_day, metavar="DAY", help="the last day [the first one]")
    action.add_argument(
        "--log", choices=("requests", "events"), default="requests", help="requests, or what was changed [requests]"
    )
    action.add_argument("--public-key", required=True, metavar="PEM", help="file with the key that signs the heads")
    action.add_argument("--json", action="store_true", help="for programs")
    action.set_defaults(run=verify)


def verify(settings: Settings, options: argparse.Namespace) -> int:
    """Check each day; 1 when there are findings. Raises: SealError."""
    last = options.last or options.first
    if last < options.first:
        raise NotConfigured("--from is later than --to: swap them.")
    key = _key(options.public_key)
    days = [options.first + timedelta(days=number) for number in range((last - options.first).days + 1)]
    found = False
    log = settings.must("tenant") + ("#events" if options.log == "events" else "")
    with _client(settings) as http:
        for day in verified(log, (_read(http, options.log, day) for day in days), key, now_ms() // 1_000):
            found = found or bool(day.findings)
            if options.json:
                sys.stdout.buffer.write(msgspec.json.encode(day) + b"\n")
            else:
                _tell(day)
    return int(found)


def _tell(day: Verified) -> None:
    head = f"head {day.head}" if day.head else "no head"
    counts = f"{day.entries} entries: {day.signed} signed, {day.unsigned} unsigned, {day.unchained} unchained"
    counts += f", {day.erased} erased" if day.erased else ""
    print(f"{day.day}  {counts}; {head}")
    for finding in day.findings[:1]:
        print(f"  {finding.kind}: {finding.lease_id or finding.day}. {finding.text}")
    if len(day.findings) > 1:
        print(f"  and {len(day.findings) - 1} more findings on this day; --json shows all")


def _read(http: httpx.Client, log: str, day: date) -> Day:
    try:
        return Day(
            day.isoformat(),
            [msgspec.convert(each, Entry) for each in _listed(http, "entries", log, day)],
            [msgspec.convert(each, SignedHead) for each in _listed(http, "heads", log, day)],
        )
    except (LookupError, TypeError, ValueError) as error:  # a proxy's page, say; msgspec's and json's are ValueErrors
        raise GatewayRefused(f"What {http.base_url.host} answered is no page of the ledger.") from error


def _listed(http: httpx.Client, what: str, log: str, day: date) -> Iterator[Any]:
    query = {"day": day.isoformat(), **({} if log == "requests" else {"log": log})}  # gateways of before know none
    while True:
        page = ask(http, "GET", f"/audit/{what}", params=query).json()
        yield from page[what]
        if page["cursor"] is None:
            return
        query["cursor"] = page["cursor"]


def _client(settings: Settings) -> httpx.Client:
    headers = {"Authorization": f"Bearer {settings.must('api_key')}"}
    return httpx.Client(base_url=settings.tenant_url, headers=headers, timeout=TIMEOUT_S)


def _key(path: str) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise NotConfigured(f"{path} holds no public key in PEM: {error}") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise NotConfigured(f"{path} holds a key of another kind: heads are signed by ECDSA.")
    return key


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, as 2026-11-01 is") from None
