"""An AWS service whose API is plain HTTP, as a schedule calls it: signed, bounded, and no SDK loaded for it."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib import aws_credentials
from chalicelib.aws_address import Service, address
from chalicelib.aws_credentials import FindCredentials, NoCredentials
from chalicelib.clock import Clock
from chalicelib.http1 import message, trust
from chalicelib.http1.failure import Failed
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server
from chalicelib.signature import signed, wall

MOST_BYTES = 64_000
PATIENCE = Patience(connect_s=3, silence_s=10)


class Unheard(Exception):
    """Nobody answered, or there is nothing to sign with: what was asked may have been done. The text is a code."""


class Answered(NamedTuple):
    """What the service said, whatever its status."""

    status: int
    body: bytes


class AwsService:
    """One service in one region. Thread-safe; nothing is opened before the first call."""

    def __init__(
        self,
        service: Service,
        signing_name: str,
        region: str,
        credentials: FindCredentials | None = None,
        url: str = "",
        clock: Clock = wall,
    ) -> None:
        """`url`: where it is; empty: where the environment says. `clock`: see signature.wall."""
        self._place = Place.of(url or address(service, region, os.environ))
        self._server = Server(self._place, PATIENCE, trust.of_aws)
        self._name = signing_name
        self._region = region
        self._credentials = credentials or aws_credentials.own()
        self._clock = clock

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """`path`: without a query, of letters that need no encoding. Raises Unheard."""
        try:
            said = signed(
                self._place.host, path, headers, body,
                region=self._region, service=self._name, credentials=self._credentials(), now_ms=self._clock(),
                method=method,
            )  # fmt: skip
            answer = self._server.ask(message.head(method, path, self._place.host, said, len(body)), body)
            return Answered(answer.status, answer.read(MOST_BYTES))
        except NoCredentials as error:
            raise Unheard(str(error)) from error
        except Failed as failed:
            raise Unheard(failed.symptom) from failed
