"""What a call says of each condition key.

https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
https://docs.aws.amazon.com/kms/latest/developerguide/conditions-nitro-enclave.html
"""

from collections.abc import Mapping

from emulators.iam.conditions import Facts
from emulators.iam.policy import Caller

_KEY = "kms:encryptioncontext:"
_ATTESTED = "kms:recipientattestation:"


def of_caller(caller: Caller) -> dict[str, tuple[str, ...]]:
    return {
        "aws:principalarn": (caller.principal_arn,),
        "aws:principalaccount": (caller.account,),
        "kms:calleraccount": (caller.account,),
        "kms:viaservice": (),  # nobody calls through another service here
    }


def of_key(*, spec: str, usage: str, origin: str, alias: str) -> dict[str, tuple[str, ...]]:
    """`alias`: how the request named the key, empty if not by an alias."""
    return {
        "kms:keyspec": (spec,),
        "kms:keyusage": (usage,),
        "kms:keyorigin": (origin,),
        "kms:requestalias": (alias,) if alias else (),
        "kms:encryptionalgorithm": (spec,) if spec == "SYMMETRIC_DEFAULT" else (),
    }


def of_context(context: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Condition keys have no case, so names that differ by case alone are one key with several values."""
    facts: dict[str, tuple[str, ...]] = {"kms:encryptioncontextkeys": tuple(context)}
    for name, value in context.items():
        key = _KEY + name.lower()
        facts[key] = (*facts.get(key, ()), value)
    return facts


def of_measurements(pcrs: Mapping[int, bytes]) -> Facts:
    """Lower-case hex, as KMS compares it."""
    facts = {f"{_ATTESTED}pcr{number}": (value.hex(),) for number, value in pcrs.items()}
    return facts | ({f"{_ATTESTED}imagesha384": (pcrs[0].hex(),)} if 0 in pcrs else {})
