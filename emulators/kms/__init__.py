"""The local KMS: moto's keys behind our own enforcement of `Recipient`, key policies and grants.

    facts, decision                       may this caller use this key so: pure, values in, decision out
    callers, keys                         who calls and with which key, as moto knows them
    recipient                             to whom the answer is sealed
    requests, exchange, operations        one call, from its parameters to its answer
    records                               what CloudTrail would tell of it
    service, asgi                         the same for every call, and in front of moto
    refusal                               what callers are refused with, as KMS writes it

`python -m emulators.kms` serves it by itself; docs/local-kms.md says what it enforces and what it does not.
"""

from emulators.kms.asgi import LocalKms
from emulators.kms.recipient import root_in

__all__ = ["LocalKms", "root_in"]
