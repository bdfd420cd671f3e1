"""Whom to trust that a place is what it says. Loading a list of authorities takes 10 ms: only when it is needed."""

import os
import ssl
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

Trust = Callable[[], ssl.SSLContext]
"""Called when a place over TLS is dialled."""


def of_the_system() -> ssl.SSLContext:
    """Whom this machine trusts; `SSL_CERT_FILE` names others."""
    return _trusting_the_system(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


def of_aws() -> ssl.SSLContext:
    """Whom botocore would trust: whom `AWS_CA_BUNDLE` names, else certifi, else the list that botocore brings along."""
    return _trusting(os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or _bundle())


@lru_cache(maxsize=4)
def _trusting_the_system(_file: str, _folder: str) -> ssl.SSLContext:
    return _spoken(ssl.create_default_context())


@lru_cache(maxsize=4)
def _trusting(authorities: str) -> ssl.SSLContext:
    return _spoken(ssl.create_default_context(cafile=authorities))


def _spoken(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bundle() -> str:
    # Found, not imported: botocore takes longer to import than all else that a request needs.
    for package in ("certifi", "botocore"):
        found = find_spec(package)
        if found is not None and found.origin is not None:
            return str(Path(found.origin).with_name("cacert.pem"))
    raise FileNotFoundError("Neither certifi nor botocore is installed: name a file of authorities in AWS_CA_BUNDLE.")
