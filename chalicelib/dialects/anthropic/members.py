"""Members of a Message that say how Anthropic's service should run it: said once, for every pool and docs/api.md."""

from collections.abc import Mapping

import msgspec

from chalicelib.refusal import THREAD_UNSUPPORTED, Malformed

HEADER = "anthropic-beta"
"""A header, which stands among the members of a call under its own name."""

SAY_BETAS = (HEADER, "anthropic_beta", "betas")

LEFT_OUT = {
    HEADER: "the header: with the next two, Claude is told of those that Bedrock knows",
    "anthropic_beta": "likewise",
    "betas": "likewise",
    "billing_policy": "the service's own",
    "cache_control": "of the whole request; that of a block or a tool is kept where the model caches",
    "compaction": "spares tokens",
    "diagnostics": "the service's own",
    "fallback_credit_token": "the service's own",
    "fallbacks": "a pool has targets to fall over to",
    "inference_geo": "a pool's targets say where it runs",
    "service_tier": "speed and price of the service",
    "speed": "likewise",
    "user_profile_id": "the service's own",
    "workspace_id": "the service's own",
}
"""What no pool here has, and no answer depends on."""

CLAUDES = {
    "context_management": "Claude, with its beta; its edits spare tokens, and other models do without",
    "metadata": "Claude; else left out",
}
"""What Anthropic's models take, and others are spared."""

REFUSED = {
    "container": "unless it is empty",
    "mcp_servers": "unless it is empty",
    "thread": "unless it is empty; Anthropic's SDKs go on with whole conversations then",
}
"""What only Anthropic's service does."""

BETAS = {
    **{
        name: name
        for name in (
            *("compact-2026-01-12", "computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24"),
            *("context-1m-2025-08-07", "context-management-2025-06-27", "interleaved-thinking-2025-05-14"),
            *("tool-examples-2025-10-29", "tool-search-tool-2025-10-19"),
        )
    },
    "advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19",
}
"""What Bedrock knows, by what callers call it; of any other it refuses the whole request ("invalid beta flag").

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html
"""


def without_the_services(fields: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Raises: Malformed, for what only Anthropic's service does."""
    for name in REFUSED:
        if name in fields and bytes(fields[name]) not in (b"null", b"[]", b"{}", b'""'):
            code = THREAD_UNSUPPORTED if name == "thread" else None
            raise Malformed(f"This model has no {name}: leave it out.", field=name, code=code)
    return {name: value for name, value in fields.items() if name not in LEFT_OUT and name not in REFUSED}


def betas(fields: Mapping[str, msgspec.Raw]) -> list[str]:
    """Those that were asked for and that Bedrock knows. Raises: Malformed."""
    known: dict[str, None] = {}
    for name in SAY_BETAS:
        if name not in fields:
            continue
        try:
            said = msgspec.json.decode(fields[name], type=list[str] | str | None) or []
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Malformed(f"{name} has to be a list of names.", field=name) from None
        asked = said.split(",") if isinstance(said, str) else said
        known |= {BETAS[each.strip()]: None for each in asked if each.strip() in BETAS}
    return list(known)
