"""What a caller proves themselves with, before anybody has judged it. Made once, where the request comes in."""

import msgspec


class ApiKey(msgspec.Struct, frozen=True):
    """The text of an API key, as it was sent."""

    text: str
    spares: tuple[str, ...] = ()  # sent beside it, in other headers: one of them may be stale

    def __repr__(self) -> str:
        return "ApiKey(...)"


class Token(msgspec.Struct, frozen=True):
    """The text of a token (JWT), as it was sent."""

    text: str

    def __repr__(self) -> str:
        return "Token(...)"


class SessionCookie(msgspec.Struct, frozen=True):
    """What the browser of somebody who signed in sends along, for a page of ours."""

    text: str

    def __repr__(self) -> str:
        return "SessionCookie(...)"


class Signed(msgspec.Struct, frozen=True):
    """A signature that API Gateway has checked, and found to be of this IAM user, or session of a role."""

    arn: str


class KeyHolder(msgspec.Struct, frozen=True):
    """Possession of a KMS key that the tenant has registered.

    Nothing is proved yet: before anything is charged, the enclave must have opened the request with that key, and
    only in mode esdk does that prove possession.
    """

    arn: str | None  # None: the tenant's only one
    mode: str  # of sealing, as the request says it


class Sealer(msgspec.Struct, frozen=True):
    """Nothing: somebody who is going to seal, for a tenant that asks for nothing but possession of its KMS key."""


Credential = ApiKey | Token | SessionCookie | Signed | KeyHolder | Sealer
