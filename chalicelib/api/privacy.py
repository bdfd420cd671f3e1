"""A tenant's data as a whole: erased because its owners, or the operator, asked for it, with a report of what became
of it. docs/privacy.md tells what goes, what stays and why."""

from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.privacy.asking import ask
from chalicelib.privacy.records import Erasures
from chalicelib.privacy.report import Report, report
from chalicelib.refusal import Malformed, NotFound

surface = Surface(__name__, "management", title="Privacy", prefix="/tenants/{tenant}/data", auth="key")
operators = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")


class ErasureQuery(msgspec.Struct, frozen=True):
    """`confirm`: the tenant's id once more, so that nobody erases by a slip."""

    confirm: Annotated[str, msgspec.Meta(max_length=40)] = ""


class ErasureBegun(msgspec.Struct, frozen=True):
    """The erasure as it begins, and a key that reads its report and the audit of what is left, for 90 days.

    The key is shown this once, and every other one opens nothing any more.
    """

    erasure: Report
    api_key: str


class ErasureList(msgspec.Struct, frozen=True):
    """Of all tenants that there were. Whoever restores a table asks again for those that are done."""

    erasures: list[Report]


@surface.door(
    "DELETE", "/tenants/{tenant}/data", permission="data.manage", for_narrowed="closed",
    summary="Erase everything of the tenant", query=ErasureQuery, returns=ErasureBegun, status=202,
    names=lambda made: made.erasure.job,
)  # fmt: skip
def erase_data(asked: Incoming, caller: Caller) -> ErasureBegun:
    """All that was kept, used and said, and everybody who belongs to it. The tenant is closed at once, and for good:
    nothing runs, and no key, session or token opens anything. What is erased is reported as it goes; it takes minutes,
    or hours where there is very much.
    """
    return _begun(caller.principal.tenant, "owner", asked)


@surface.door(
    "GET", "/tenants/{tenant}/data/{job}", permission="usage.read",
    summary="What became of the data", returns=Report,
)  # fmt: skip
def show_erasure(asked: Incoming, caller: Caller) -> Report:
    """What is gone, what stays and for what reason, what is still to be done, and which tables were looked through."""
    erasure, _ = _erasures().of(caller.principal.tenant)
    if erasure.job != asked.parameters["job"]:
        raise NotFound("There is no such erasure. A later one may have been asked for by the operator.")
    return report(erasure)


@operators.door(
    "DELETE", "/admin/tenants/{tenant}/data", permission="operate", for_narrowed="closed",
    summary="Erase everything of a tenant", query=ErasureQuery, returns=ErasureBegun, status=202,
    names=lambda made: made.erasure.job,
)  # fmt: skip
def erase_data_of(asked: Incoming) -> ErasureBegun:
    """As its owners do. Once more after a table was restored, and where the key of the report is lost."""
    tenant = asked.parameters["tenant"]
    wiring.tenancy().tenant(tenant)
    return _begun(tenant, "operator", asked)


@operators.door(
    "GET", "/admin/erasures", permission="operate",
    summary="Every erasure, with its report", returns=ErasureList,
)  # fmt: skip
def list_erasures(_: Incoming) -> ErasureList:
    """Keep this list where the tables are not: after restoring one, each that was done since is to be done again."""
    return ErasureList([report(erasure) for erasure in _erasures().all()])


def _begun(tenant: str, by: Literal["owner", "operator"], asked: Incoming) -> ErasureBegun:
    """Raises Malformed, Conflict, NotFound."""
    if asked.query_as(ErasureQuery).confirm != tenant:
        raise Malformed(f"Nothing is erased yet: send `confirm={tenant}` to say that you mean it.", field="confirm")
    path = wiring.path()
    erasure, key = ask(tenant, by, _erasures(), wiring.tenancy(), path.randomness, path.clock())
    return ErasureBegun(report(erasure), key)


def _erasures() -> Erasures:
    return Erasures(wiring.tenancy().documents)
