"""AWS's Signature Version 4 in the shape in which we send: a body of known bytes, no query, and mostly POST.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """What a request is signed with. Nothing of it is in a log, an error or a repr."""

    access_key: str
    secret_key: str
    token: str = ""  # of a session; empty for a long-lived key

    def __repr__(self) -> str:
        return "Credentials(...)"


def wall() -> int:
    """The clock that signatures go by, in milliseconds; AWS takes one that is wrong by up to five minutes."""
    return time.time_ns() // 1_000_000


def signed(
    host: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    service: str,
    credentials: Credentials,
    now_ms: int,
    method: str = "POST",
) -> dict[str, str]:
    """The headers, and those more that prove who sends them.

    `host`: as the header of that name says it. `path`: as it goes over the wire, without a query and dot segments.
    `headers`: ASCII; all are signed, so none that the way may change (Connection, User-Agent, X-Amzn-Trace-Id), and
    none of Host, Authorization and X-Amz-*, but the hash that S3 wants. Raises ValueError for what is not ASCII.
    """
    date, day = _instant(now_ms // 1_000)
    said = {**headers, "X-Amz-Date": date}
    if credentials.token:
        said["X-Amz-Security-Token"] = credentials.token
    before, after, names = _canonical(method, host, path, tuple(headers.items()), credentials.token)
    request = f"{before}{date}{after}{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode('ascii')).hexdigest()}"
    signing = _keyed(credentials.secret_key, day, region, service).copy()
    signing.update(to_sign.encode())
    said["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signing.hexdigest()}"
    )
    return said


@lru_cache(maxsize=2)
def _instant(second: int) -> tuple[str, str]:
    """The second and its day, as a signature says them."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
    return date, date[:8]


@lru_cache(maxsize=64)
def _canonical(
    method: str, host: str, path: str, headers: tuple[tuple[str, str], ...], token: str
) -> tuple[str, str, str]:
    """The canonical request before its date, after it up to the body's hash, and the names of what is signed: of almost
    all requests nothing of that is new."""
    said = [("host", host), *((name.lower(), " ".join(value.split())) for name, value in headers)]
    if token:
        said.append(("x-amz-security-token", " ".join(token.split())))
    earlier = sorted([line for line in said if line[0] < "x-amz-date"])
    later = sorted([line for line in said if line[0] > "x-amz-date"])
    names = ";".join([name for name, _ in (*earlier, ("x-amz-date", ""), *later)])
    # What is encoded on the wire is encoded once more here; S3 alone does not do that.
    before = f"{method}\n{quote(path, safe='/~')}\n\n{_lines(earlier)}x-amz-date:"
    return before, f"\n{_lines(later)}\n{names}\n", names


def _lines(fields: list[tuple[str, str]]) -> str:
    return "".join([f"{name}:{value}\n" for name, value in fields])


@lru_cache(maxsize=64)
def _keyed(secret_key: str, day: str, region: str, service: str) -> hmac.HMAC:
    """To be copied, which takes a third of the time that setting the key does."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
