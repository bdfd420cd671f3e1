"""Credentials for Bedrock, out of AWS Secrets Manager: what a secret may hold, and when it is read again.

    {"bedrock_api_key": "...", "region": "us-east-1"}                        an API key of Bedrock, plain or in base64
    {"access_key_id": "...", "secret_access_key": "...", "role_arn": "..."}  an access key, or that and a role to assume

`region` may stand in both. Nothing of a credential is in any error, log or repr.
"""

import base64
import binascii
import threading

import botocore.session
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws_client import config_of
from chalicelib.clock import Clock
from chalicelib.engines.secrets_manager import ReadSecret, Unreadable
from chalicelib.settings import Settings

SECRET_AGE_MS = 300_000  # a secret is read again after it, so that a rotated key is not met at its last use
ROLE_MARGIN_MS = 300_000  # a role's session is renewed so long before it expires
YOUNG_MS = 60_000  # a session of less than that is not why a call was refused, unless Bedrock says that it is
UNREADABLE_PAUSE_MS = 10_000  # until it is tried again to renew a credential
ROLE_SESSION = "cloister"


class _Hidden(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class _Secret(_Hidden, frozen=True):
    bedrock_api_key: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    role_arn: str = ""
    region: str = ""


class Credential(_Hidden, frozen=True):
    """Either `api_key`, or the three parts of an access key."""

    api_key: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    region: str = ""  # where it is for, if the secret says so


class _Held(msgspec.Struct, frozen=True):
    credential: Credential
    renew_at_ms: int
    secret: _Secret
    since_ms: int


class Source:
    """The credential that one secret leads to. Thread-safe.

    `clock` is the wall's, because a role's session ends by it.
    """

    def __init__(self, secret: str, region: str, settings: Settings, read: ReadSecret, clock: Clock) -> None:
        """`region`: whose STS is asked for a role, where the secret names none."""
        self._secret = secret
        self._region = region
        self._settings = settings
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def current(self) -> Credential:
        """The credential, read again before it expires. Raises Unreadable if there is none yet."""
        held = self._held
        if held is None:
            with self._lock:
                held = self._held = self._held or self._renewed()
        elif self._clock() >= held.renew_at_ms and self._lock.acquire(blocking=False):
            # One thread renews; the others go on with the old credential meanwhile.
            try:
                held = self._held = self._renewed()
            except Unreadable:  # Bedrock may take the old one still, and says so if not
                self._held = msgspec.structs.replace(held, renew_at_ms=self._clock() + UNREADABLE_PAUSE_MS)
            finally:
                self._lock.release()
        return held.credential

    def after(self, refused: Credential, *, stale: bool) -> Credential:
        """What to try now that Bedrock has refused `refused`: the same one where the secret still says so.

        `stale`: Bedrock says that it is the credential. Else it may be a model that nobody may call, for which a role's
        young session is not replaced: that would be a new session, and new clients, for every such call.

        Raises: Unreadable.
        """
        with self._lock:
            held = self._held
            if held is None or held.credential == refused:
                young = held is not None and not stale and self._clock() - held.since_ms < YOUNG_MS
                held = self._held = self._renewed(held if young else None)
            return held.credential

    def _renewed(self, young: _Held | None = None) -> _Held:
        now_ms = self._clock()
        secret = _parsed(self._read(self._secret))
        if secret.bedrock_api_key:
            key = Credential(api_key=_plain(secret.bedrock_api_key), region=secret.region)
            return _Held(key, now_ms + SECRET_AGE_MS, secret, now_ms)
        if secret.role_arn:
            return young if young is not None and young.secret == secret else self._assumed(secret, now_ms)
        key = Credential("", secret.access_key_id, secret.secret_access_key, region=secret.region)
        return _Held(key, now_ms + SECRET_AGE_MS, secret, now_ms)

    def _assumed(self, secret: _Secret, now_ms: int) -> _Held:
        session = botocore.session.get_session()
        session.set_credentials(secret.access_key_id, secret.secret_access_key)
        region = secret.region or self._region
        try:
            sts = session.create_client("sts", region_name=region, config=config_of(self._settings))
            given = sts.assume_role(RoleArn=secret.role_arn, RoleSessionName=ROLE_SESSION)["Credentials"]
        except (BotoCoreError, ClientError) as error:
            raise Unreadable(f"STS: {type(error).__name__}") from None
        key = Credential(
            "", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region=secret.region
        )
        renew_at_ms = round(given["Expiration"].timestamp() * 1_000) - ROLE_MARGIN_MS
        return _Held(key, renew_at_ms, secret, now_ms)


def _parsed(text: str) -> _Secret:
    try:
        secret = msgspec.json.decode(text, type=_Secret)
    except msgspec.MsgspecError:
        raise Unreadable("The secret for Bedrock is not a JSON object of texts.") from None
    if not secret.bedrock_api_key and not (secret.access_key_id and secret.secret_access_key):
        raise Unreadable(
            "The secret for Bedrock has no `bedrock_api_key`, nor `access_key_id` and `secret_access_key`."
        )
    return secret


def _plain(key: str) -> str:
    """The API key, which may have been put into the secret in base64."""
    key = key.strip()
    try:
        decoded = base64.b64decode(key, validate=True).decode("ascii").strip()
    except (binascii.Error, ValueError):
        return key
    return decoded if decoded and decoded.isprintable() else key
