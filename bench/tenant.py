"""The bench's tenant, its key and its pool, as Cloister's tables hold them.

The limits have the form of a new tenant's (four rates, one budget, a cap) with figures that nothing here
reaches: every check is made, and none denies. Documents have a form that older commits read as well.
"""

import base64
import hashlib
import json
import secrets
from typing import Any

from bench.upstream import MODEL

NAME = "bench"
GUARDED = "guarded"
"""The tenant that uses all there is for people and for what may be said: rules, and a member who comes with a token."""
MEMBER = "bench"
AUDIENCE = "cloister-bench"
EPOCH = 1_750_000_000_000

RULES = {
    "rules": [
        {"name": "badge", "pattern": r"\bid-\d{4,6}\b"},
        {"name": "injection", "pattern": r"(?i)ignore .{0,40}instructions", "action": "flag"},
    ],
    "packs": ["cards", "iban", "ssn", "aws_keys", "private_keys", "mail", "phone"],
    "topics": [{"name": "merger", "phrases": ["project falcon", "falcon deal"]}],
    "tools": {"blocked": ["*_secret"]},
    "refusal": "Our company's rules do not allow this.",
    "max_prompt_bytes": 200_000,
}
"""Ten patterns for prompts and for answers; one of them only counts."""

Item = dict[str, dict[str, Any]]

LIMITS = {
    "rates": [
        {"name": "second", "unit": "requests", "count": 200_000, "period_ms": 2_000, "burst": 1_000_000},
        {"name": "minute", "unit": "requests", "count": 6_000_000, "period_ms": 60_000, "burst": 6_000_000},
        {"name": "hour", "unit": "requests", "count": 360_000_000, "period_ms": 3_600_000, "burst": 360_000_000},
        {"name": "tpm", "unit": "tokens", "count": 6_000_000_000, "period_ms": 60_000, "burst": 6_000_000_000},
    ],
    "budgets": [{"name": "month", "unit": "tokens", "limit": 10**15, "window": "month"}],
    "in_flight": 1_000,
}


def new_key(of: str = NAME) -> str:
    """A key of a tenant, in the form that Cloister mints."""
    name = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"ck_{of}.{name}_{secret}"


def tenant_of(key: str) -> str:
    """The tenant that a key is of."""
    return key[3:].partition(".")[0]


def issuer_of(upstream_port: int) -> str:
    """Of the guarded tenant's token: the upstream shows its keys."""
    return f"http://127.0.0.1:{upstream_port}"


def documents(key: str, upstream_port: int, kms_key: str | None = None) -> dict[tuple[str, str], Item]:
    """What the tenancy table holds of the key's tenant: (pk, sk) -> item.

    With the ARN of the tenant's KMS key, the pool takes sealed calls.
    """
    name, key_id, secret = tenant_of(key), key[3 : -len("_") - 43], key[-43:]
    target = {
        "name": "upstream",
        "engine": "openai_compatible",
        "model": MODEL,
        "capacity": 64,
        "url": f"http://127.0.0.1:{upstream_port}/v1",
    }
    pool = {
        "name": MODEL,
        "targets": [target],
        "input_micro_usd_per_mtok": 100_000,
        "output_micro_usd_per_mtok": 200_000,
        "sealed": kms_key is not None,
    }
    sealing = {"keys": [{"arn": kms_key, "registered_ms": EPOCH}] if kms_key else []}
    tenant: dict[str, Any] = {"id": name, "name": name, "limits": LIMITS, "pools": [MODEL], "sealing": sealing}
    digest = hashlib.sha256(secret.encode()).hexdigest()
    guards: dict[tuple[str, str], Item] = {}
    if name == GUARDED:
        tenant |= {"guarded": True, "sources": ["127.0.0.0/8"]}
        guards = _guards(issuer_of(upstream_port))
    return guards | {
        (name, "tenant"): _item(name, "tenant", tenant),
        (name, f"key#{key_id}"): _item(
            name, f"key#{key_id}", {"id": key_id, "tenant": name, "digest": digest, "role": "developer"}
        ),
        ("~platform", f"pool#{MODEL}"): _item("~platform", f"pool#{MODEL}", pool),
    }


def _guards(issuer: str) -> dict[tuple[str, str], Item]:
    """What the guarded tenant has besides: its rules, and its member."""
    person = "person#" + hashlib.sha256(json.dumps([issuer, MEMBER], separators=(",", ":")).encode()).hexdigest()
    member = {"subject": MEMBER, "role": "developer", "issuer": issuer, "sub": MEMBER, "joined_ms": EPOCH}
    held = {
        "guardrails": {"rules": RULES},
        f"member#{MEMBER}": member,
        person: {"tenant": GUARDED, "subject": MEMBER},
    }
    return {(GUARDED, sk): _item(GUARDED, sk, document) for sk, document in held.items()}


def _item(pk: str, sk: str, document: object) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}, "doc": {"S": json.dumps(document)}, "version": {"N": "1"}}
