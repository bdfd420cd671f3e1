"""A door as data: one row of the route table, from which it is served, guarded and described."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from chalicelib.http.problems import Shape
from chalicelib.identity.roles import Permission
from chalicelib.tenancy.tenant import SurfaceName

Auth = Literal["none", "key", "signed", "signed_or_key"]
"""How callers prove themselves: not at all; by an API key; by a signature of IAM; by that, or by a key where there is
no API Gateway."""

SEALED_TYPE = "application/octet-stream"
"""Of sealed requests and answers."""
FRAMED_TYPE = "application/vnd.amazon.eventstream"
"""Of answers that stream as AWS's own do."""
BINARY_TYPES = (SEALED_TYPE, FRAMED_TYPE)

OF_A_TENANT = "/tenants/{tenant}"
OF_SIGN_IN = "/signin"

ForNarrowed = Literal["within", "covering", "closed"]
"""What a key that is narrowed to pools, to surfaces or to a time may do by a door.

within: whatever else it may; the door reads, or touches what the key's pools let it and nothing that lasts longer.
covering: make and take back keys, of which each can do no more than this one, and no longer. The view sees to it.
closed: nothing, for what is changed there reaches further, or lasts longer, than such a key.
"""

Needed = Permission | Literal["public", "operate"]
"""What a caller must hold: a permission; nothing; or to be the operator of the service."""


class Route(msgspec.Struct, frozen=True):
    """What serves a method of a path, and what OpenAPI says of it."""

    method: str
    path: str
    resource: str  # the path as API Gateway writes it: a last parameter {name+} holds slashes, too
    name: str
    summary: str
    surface: SurfaceName  # that a key must reach
    auth: Auth
    shape: Shape
    permission: Needed
    accepts: Any  # the body's type; None: no body
    returns: Any  # the answer's type; None: no body
    returns_to_anthropic: Any  # its type for who sends `anthropic-version`; None: that makes no difference here
    query: Any  # the query's type; None: none is read
    headers: tuple[str, ...]  # request headers that mean something here, besides the credential's
    status: int
    streams: bool  # may answer text/event-stream
    infers: bool  # runs a model: admitted, answers with the inference headers, and may be refused as one
    clear_only: bool  # takes nothing that is sealed, though it runs a model
    for_narrowed: ForNarrowed
    for_sealers: bool  # whoever is going to seal may come, without an API key where their tenant asks for none
    for_every_surface: bool  # whichever surface a key, or its role, is narrowed to
    probes: bool  # asks how this process is: answered on threads of their own, when nothing else gets through
    at_once: bool  # its view waits for nothing, and is answered in the loop: without a place, or a thread
    names: Callable[[Any], str] | None  # of what it has made: the id; None: the path names all that it changes
    own_statuses: Mapping[int, str]  # other statuses that come with `returns`
    other_forms: Mapping[str, str]  # other content types of the answer, and what each is
    module: str  # whose docstring says what its doors are for
    title: str  # of the doors that belong together
    description: str  # what the view says of itself

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def called(self) -> str:
        """As docs/api.md lists it, and as keys, roles and tenants are narrowed to it."""
        return f"{self.method} {self.path}"

    @property
    def about_us(self) -> bool:
        """Asks how this process is, as balancers do all the time: nobody is kept from it, and sight is not told of
        it."""
        return self.probes or self.at_once

    @property
    def held(self) -> Permission | None:
        """What the caller must hold of whom its view is told. None: of nobody, for everybody may come in, or only the
        operator, or whoever the admission lets in."""
        if self.infers or self.permission == "public" or self.permission == "operate":
            return None
        return self.permission

    @property
    def tells_who(self) -> bool:
        """Whether its view is told who calls: the Caller; or of an operator, who has no snapshot, the Principal."""
        return self.held is not None or (self.permission == "operate" and self.for_narrowed == "covering")

    @property
    def changes(self) -> bool:
        """Whether it stands in the journal: what is changed there lasts, and was asked for by somebody."""
        return self.for_narrowed != "within"

    @property
    def signed(self) -> bool:
        """Whether API Gateway asks for a signature of IAM."""
        return self.auth in ("signed", "signed_or_key")

    @property
    def for_pages(self) -> bool:
        """Below a tenant, whose document says which web pages may call there. Nothing else is for pages of others."""
        return self.path.startswith(OF_A_TENANT)

    @property
    def closed(self) -> bool:
        """A member of its body that nobody here knows is refused; whoever runs a model passes it on instead."""
        return not self.infers

    @property
    def closed_query(self) -> bool:
        """A parameter that nobody here knows is refused. What runs a model has none, and links to public pages are
        lengthened by others: there it is let pass.
        """
        return not self.infers and self.permission != "public"

    @property
    def seals(self) -> bool:
        """Takes sealed requests as well."""
        return self.infers and self.auth == "key" and self.shape in ("problem", "openai") and not self.clear_only

    @property
    def exports(self) -> bool:
        """Answers in CSV as well, where its query says so."""
        return self.query is not None and "format" in self.query.__struct_fields__
