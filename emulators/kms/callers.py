"""Who calls: the access key in the Authorization header, as the local cloud's IAM knows it.

Signatures are not verified: whoever knows an access key id is taken for its owner.
"""

import re

import msgspec
from moto.utilities.utils import get_partition

from emulators.iam import principals
from emulators.iam.policy import Caller, Identity
from emulators.kms.refusal import KmsError

_CREDENTIAL = re.compile(r"Credential=(?P<key>\w+)/\d{8}/(?P<region>[a-z0-9-]+)/kms/aws4_request")


class Signed(msgspec.Struct, frozen=True):
    """What the caller signed with."""

    access_key_id: str
    region: str
    token: str


def signed(authorization: str, token: str) -> Signed:
    """Raises Refused where the request is not signed for KMS."""
    found = _CREDENTIAL.search(authorization)
    if found is None:
        raise KmsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    return Signed(found["key"], found["region"], token)


def identify(by: Signed, now_ms: int) -> tuple[Caller, Identity]:
    """The caller and what their own policies say. Raises Refused for a key that IAM does not know."""
    try:
        found = principals.find(by.access_key_id, by.token, get_partition(by.region), now_ms)
    except principals.Unknown:
        raise KmsError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        ) from None
    except principals.Expired:
        raise KmsError("ExpiredTokenException", "The security token included in the request is expired") from None
    return found.caller, found.identity
