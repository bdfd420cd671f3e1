"""What may be put of pools, tenants and keys, by whoever sends it. Pure.

The types take more, for yesterday's documents are of these types too. Here is what would be stored and do nothing, or
contradict itself: whoever sends it hears of it, by the member's name.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import get_args

from chalicelib.call import AS_CHATS, Operation
from chalicelib.pool import Bedrock, OpenAICompatible, Pool, SageMaker, Target
from chalicelib.refusal import Malformed
from chalicelib.tenancy.tenant import CustomRole, Role, Scopes

OFFERED: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings", "invoke")
"""What a pool says that it offers; the other operations come with one of these."""

DEFAULT_MAX_TOKENS = Pool("", ()).default_max_tokens

Speaks = Callable[[Target], Collection[Operation]]


def must_be_sound(pool: Pool, speaks: Speaks) -> None:
    """Raises Malformed. `speaks`: what a target takes.

    `created_s` is the gateway's own, whatever is sent of it: a pool that was read can be put, also by another name.
    """
    if not pool.targets:
        raise Malformed("A pool without targets answers nothing: name one at least.", field="targets")
    _must_differ([target.name for target in pool.targets], "targets[{}].name")
    _must_differ([pool.name, *pool.aliases], "aliases[{}]", first=1)
    if pool.default_max_tokens > pool.max_tokens and pool.default_max_tokens != DEFAULT_MAX_TOKENS:
        raise Malformed(
            f"`default_max_tokens` is more than `max_tokens`, which is {pool.max_tokens}.", field="default_max_tokens"
        )
    _must_be_offered(pool.operations)
    for index, target in enumerate(pool.targets):
        _must_fit(target, pool, speaks(target), f"targets[{index}]")


def must_be_pools(named: Sequence[str], known: Collection[str], field: str, whose: str) -> None:
    """Raises Malformed unless all of them are pools that there are."""
    _must_differ(named, f"{field}[{{}}]")
    for index, name in enumerate(named):
        if name not in known:
            some = f" They are: {', '.join(sorted(known)[:20])}." if known else ""
            raise Malformed(f"There is no pool {name!r} {whose}.{some}", field=f"{field}[{index}]")


def must_be_pinned_to_targets(pins: Mapping[str, str], pools: Collection[str], known: Iterable[Pool]) -> None:
    """Raises Malformed unless each is a target of one of the tenant's `pools`, of which `known` tells."""
    targets = {pool.name: [target.name for target in pool.targets] for pool in known if pool.name in pools}
    for pool, target in pins.items():
        field = f"pins.{pool[:64]}"
        if pool not in targets:
            raise Malformed(f"{pool[:64]!r} is not among the tenant's pools.", field=field)
        if target not in targets[pool]:
            raise Malformed(
                f"The pool {pool} has no target {target[:64]!r}. It has: {', '.join(targets[pool])}.", field=field
            )


def must_be_of_tenant(scopes: Scopes, pools: Collection[str], field: str = "scopes") -> None:
    """Raises Malformed where a key or a role would be narrowed to what its tenant has not."""
    must_be_pools(scopes.pools, pools, f"{field}.pools", "among the tenant's")
    _must_differ(scopes.surfaces, f"{field}.surfaces[{{}}]")
    _must_differ(scopes.tools, f"{field}.tools[{{}}]")
    for index, glob in enumerate(scopes.tools):
        if not glob.isprintable():
            raise Malformed("The name of a tool holds no control characters.", field=f"{field}.tools[{index}]")


def must_be_roles(roles: Mapping[str, CustomRole], pools: Collection[str]) -> None:
    """Raises Malformed unless these can be the own roles of a tenant that has the pools."""
    for name, role in roles.items():
        if name in get_args(Role):
            raise Malformed(f"{name} is a role of every tenant. Choose another name.", field=f"roles.{name}")
        must_be_of_tenant(role.scopes, pools, f"roles.{name}.scopes")


def _must_differ(names: Sequence[str], field: str, first: int = 0) -> None:
    """`first`: how many of the names stand elsewhere than in `field`."""
    for index, name in enumerate(names):
        if not name:
            raise Malformed("A name has one character at least.", field=field.format(index - first))
        if name in names[:index]:
            raise Malformed(f"{name!r} is there twice.", field=field.format(index - first))


def _must_be_offered(operations: Sequence[Operation]) -> None:
    if not operations:
        raise Malformed(f"A pool offers one of these at least: {', '.join(OFFERED)}.", field="operations")
    _must_differ(operations, "operations[{}]")
    for index, operation in enumerate(operations):
        if operation not in OFFERED:
            comes = "chat.completions" if operation in AS_CHATS else "invoke"
            raise Malformed(
                f"{operation} comes with {comes}: name that. It is one of: {', '.join(OFFERED)}.",
                field=f"operations[{index}]",
            )


def _must_fit(target: Target, pool: Pool, spoken: Collection[Operation], place: str) -> None:
    for index, operation in enumerate(pool.operations):
        # A completion is asked as a chat where a target has no completions.
        if operation not in spoken and not (operation == "completions" and "chat.completions" in spoken):
            raise Malformed(
                f"The target {target.name!r} cannot run {operation}: {target.engine} has no such thing.",
                field=f"operations[{index}]",
            )
    if isinstance(target, SageMaker) and target.component and target.target_model:
        raise Malformed(
            f"The target {target.name!r} is either a `component` or a `target_model`: an endpoint has the ones or the "
            "others.",
            field=f"{place}.target_model",
        )
    if isinstance(target, OpenAICompatible) and target.secret and not target.private:
        raise Malformed(
            f"The target {target.name!r} has a key: its `url` has to begin with https://, or be a private address.",
            field=f"{place}.url",
        )
    if isinstance(target, Bedrock):
        _must_fit_bedrock(target, pool, place)


def _must_fit_bedrock(target: Bedrock, pool: Pool, place: str) -> None:
    if pool.sealed:
        raise Malformed(f"`sealed`: no enclave stands before {target.name!r}, which is Bedrock's.", field="sealed")
    if target.model:
        return
    if target.profile:
        raise Malformed(
            f"A `profile` is of one model: {target.name!r} needs its `model`, too.", field=f"{place}.profile"
        )
    if pool.operations != ("invoke",):
        raise Malformed(
            f"The target {target.name!r} needs a `model`: without one it runs nothing but `invoke`, where each call "
            "names its own.",
            field=f"{place}.model",
        )
