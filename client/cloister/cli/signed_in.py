"""Who has signed in at which gateway: their tokens, in a file that only they read, renewed as they are needed."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from cloister.cli.gateway import TIMEOUT_S, ask
from cloister.refusal import NotConfigured, SealError

EARLY_S = 60
"""Before its end a token is renewed: what is asked for with it has to arrive."""

AGAIN = "Your sign-in is over. Sign in again: cloister login."


class SignedIn(msgspec.Struct, frozen=True):
    """One person's tokens, and where they are renewed: at the issuer, or at the gateway for who came by a password."""

    access_token: str
    refresh_token: str
    ends_s: int
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    client_id: str = ""


class SignIns:
    """Those of this user, by the gateway's address. `XDG_CONFIG_HOME` says where, or else it is `~/.config`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        config = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or Path.home(), ".config"))
        self._file = Path(config, "cloister", "signed-in.json")

    def token(self, gateway: str) -> str | None:
        """What to send where a key would be; None: nobody is signed in there. Raises: SealError."""
        held = self.held(gateway)
        if held is None:
            return None
        if held.ends_s - EARLY_S > time.time():
            return held.access_token
        renewed = _renewed(held, gateway)
        self.keep(gateway, renewed)
        return renewed.access_token

    def held(self, gateway: str) -> SignedIn | None:
        return self._all().get(gateway)

    def keep(self, gateway: str, signed_in: SignedIn) -> None:
        self._write({**self._all(), gateway: signed_in})

    def forget(self, gateway: str) -> None:
        self._write({each: held for each, held in self._all().items() if each != gateway})

    def _all(self) -> dict[str, SignedIn]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, SignedIn])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise NotConfigured(f"{self._file} cannot be read ({type(error).__name__}). Delete it.") from None

    def _write(self, held: Mapping[str, SignedIn]) -> None:
        """Whole or not at all, and at no moment for others to read."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._file.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(held))
        fresh.replace(self._file)


def given(answer: Mapping[str, Any], where: SignedIn) -> SignedIn:
    """What a token endpoint's answer makes of it. A refresh token that is not replaced stays good."""
    return msgspec.structs.replace(
        where,
        access_token=answer["access_token"],
        refresh_token=answer.get("refresh_token") or where.refresh_token,
        ends_s=int(time.time()) + int(answer["expires_in"]),
    )


def _renewed(held: SignedIn, gateway: str) -> SignedIn:
    if not held.refresh_token:
        raise NotConfigured(AGAIN)
    with httpx.Client(timeout=TIMEOUT_S) as http:
        if held.token_endpoint:
            form = {"grant_type": "refresh_token", "client_id": held.client_id, "refresh_token": held.refresh_token}
            answer = ask(http, "POST", held.token_endpoint, data=form, also=(400, 401))
        else:
            body = {"refresh_token": held.refresh_token}
            answer = ask(http, "POST", f"{gateway}/signin/token", json=body, also=(400, 401))
    if answer.is_error:
        raise NotConfigured(AGAIN)
    try:
        return given(answer.json(), held)
    except (KeyError, ValueError):
        raise SealError("The issuer's answer is none of a token endpoint's.") from None
