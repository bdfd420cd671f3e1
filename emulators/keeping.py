"""What was made in the account, kept beside the tables: users and their policies, keys of KMS, secrets, tables.

Moto has all of it as Python objects, so that they are pickled; the file lies in a directory that is its owner's alone.
It is kept whole at each change, before the change is answered. That is some kilobytes; items of tables are apart, in
rows, and so are the two things that change with every request: nothing here does.
"""

import io
import pickle
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from moto.dynamodb.models import dynamodb_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sts.models import sts_backends

from emulators.dynamodb import Rows

_BACKENDS: dict[str, Any] = {
    "dynamodb": dynamodb_backends,
    "iam": iam_backends,
    "kms": kms_backends,
    "secretsmanager": secretsmanager_backends,
    "sts": sts_backends,
}
_NAME = "account"
# By the beginning of the operation's name. Everything else may change something.
_READS = (
    "Describe", "Get", "List", "Search", "Decode", "Encrypt", "Decrypt", "ReEncrypt", "Generate", "Sign", "Verify",
    "Derive", "BatchGet", "Simulate",
)  # fmt: skip
_CHANGES = {"GetSessionToken", "GetFederationToken"}
_TARGETS = {"TrentService", "secretsmanager"}
_ACTION = re.compile(rb"(?:^|&)Action=([A-Za-z]+)")
_TRIES = 100


class OtherVersion(Exception):
    """What was kept is of another version of moto. The text is one sentence."""


class Kept:
    """`path`: a file; None keeps nothing. What is kept is there as soon as this is made; it has a thread of its own."""

    def __init__(self, path: Path | None) -> None:
        """Raises OtherVersion."""
        self.rows = Rows(path)
        self._keeps = path is not None
        self._beside: Any = None
        self._version = metadata.version("moto")
        self._read(self.rows.kept(_NAME))

    def beside(self, make: Callable[[], Any]) -> Any:
        """What `make` makes the first time, together with what that does to the account; later what it had made."""
        if self._beside is None:
            self._beside = make()
            with self.rows.at_once():
                self.keep()
        return self._beside

    def may_have_changed(self, target: str, body: bytes, status: int) -> bool:
        """Whether a call that was answered so must be kept; `target`: its X-Amz-Target, empty for IAM and STS."""
        if not self._keeps or status >= 400:
            return False
        service, _, operation = target.rpartition(".")
        if service not in _TARGETS:
            named = _ACTION.search(body) if not target else None
            operation = named[1].decode() if named else ""
        return bool(operation) and (operation in _CHANGES or not operation.startswith(_READS))

    def keep(self) -> None:
        if not self._keeps:
            return
        for _ in range(_TRIES):
            try:
                self.rows.keep(_NAME, self._written())
            except RuntimeError:  # another thread changes what is looked through; it is going to keep that itself
                continue
            return
        raise RuntimeError("what was made in the account changes too fast to be kept")

    def _written(self) -> bytes:
        held = {name: {account: dict(of) for account, of in dict(all_).items()} for name, all_ in _BACKENDS.items()}
        written = io.BytesIO()
        _Pickler(written).dump((self._version, held, self._beside))
        return written.getvalue()

    def _read(self, kept: bytes | None) -> None:
        if kept is None:
            return
        try:
            version, held, beside = pickle.loads(kept)
        except Exception:  # whatever moto's classes of then do to those of now
            raise OtherVersion(f"What was kept is of another moto than {self._version}, or damaged.") from None
        if version != self._version:
            raise OtherVersion(f"What was kept is of moto {version}, and this is {self._version}.")
        self._beside = beside
        for name, accounts in held.items():
            for account, places in accounts.items():
                for place, backend in places.items():
                    _BACKENDS[name][account][place] = backend


class _Pickler(pickle.Pickler):
    """Private keys as DER: `cryptography` pickles none."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
            der = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return _private_key, (der,)
        return NotImplemented


def _private_key(der: bytes) -> Any:
    return load_der_private_key(der, None)
