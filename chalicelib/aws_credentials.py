"""With what this process signs what it sends to AWS. A leaf: every room may import it.

In Lambda the environment holds them. Elsewhere (a role of a container or an instance, a profile) botocore knows where
to look and when to look again; it is imported then and not before: it takes longer than all else at a cold start.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.signature import Credentials

if TYPE_CHECKING:
    from botocore.credentials import Credentials as Found

FindCredentials = Callable[[], Credentials]
"""Those of this moment: called for each request. Raises NoCredentials."""


class NoCredentials(Exception):
    """There are none, or they cannot be had now; the text is botocore's name for why."""


def own() -> FindCredentials:
    """The process's own, from where they are."""
    held = in_environment(os.environ)
    if held is not None:
        return lambda: held
    return _of_botocore


def in_environment(environment: Mapping[str, str]) -> Credentials | None:
    """Those that do not expire as long as the process lives; else None."""
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or "AWS_CREDENTIAL_EXPIRATION" in environment:
        return None
    token = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_SECURITY_TOKEN") or ""
    return Credentials(access_key, secret_key, token)


def _of_botocore() -> Credentials:
    from botocore.exceptions import BotoCoreError

    try:
        # Frozen: key, secret and token of one and the same credential, whatever is refreshed meanwhile.
        found = _found().get_frozen_credentials()
    except BotoCoreError as error:
        raise NoCredentials(type(error).__name__) from error
    return Credentials(found.access_key, found.secret_key, found.token or "")


@cache
def _found() -> "Found":
    """Raises BotoCoreError: NoCredentialsError where there are none, and then looks again the next time."""
    import botocore.session
    from botocore.exceptions import NoCredentialsError

    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise NoCredentialsError
    return found
