"""One call while it is answered: who asks, which keys it comes to, and for whom the answer is sealed."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from emulators.iam.policy import Call, Caller, Identity
from emulators.kms import decision, facts, keys
from emulators.kms.keys import Key
from emulators.kms.recipient import Recipient, RecipientInfo
from emulators.kms.refusal import KmsError, wrong_usage

Answer = dict[str, Any]
Verify = Callable[[RecipientInfo], Recipient]


class Exchange:
    """`caller`, `region`, `keys` and `recipient` are what the record tells afterwards."""

    def __init__(self, caller: Caller, identity: Identity, region: str, verify: Verify) -> None:
        self.caller = caller
        self.region = region
        self.keys: list[Key] = []
        self.recipient: Recipient | None = None
        self._identity = identity
        self._verify = verify

    def answer_to(self, info: RecipientInfo | None) -> None:
        """From here on, secrets are for this recipient alone, if one is named. Raises Refused."""
        if info is not None:
            self.recipient = self._verify(info)

    def key(self, named: str) -> Key:
        """Raises Refused (NotFoundException)."""
        found = keys.find(named, self.caller.account, self.region)
        self.keys.append(found)
        return found

    def key_of(self, blob: bytes, named: str | None) -> Key:
        """The key that is named, or else the one that the blob was encrypted under."""
        if named is not None:
            return self.key(named)
        found = keys.sealed_by(blob, self.region)
        self.keys.append(found)
        return found

    def permit(
        self, operation: str, key: Key, usage: str, *, context: Mapping[str, str] | None = None, dry_run: bool
    ) -> None:
        """Nothing, if the caller may use this key so and the key can be used.

        Raises: Refused.
        """
        known = facts.of_key(spec=key.spec, usage=key.usage, origin=key.origin, alias=key.alias)
        self._judge(operation, key, known, context or {})
        if key.state == "Disabled":
            raise KmsError("DisabledException", f"{key.arn} is disabled.")
        if key.state != "Enabled":
            raise KmsError("KMSInvalidStateException", f"{key.arn} is not enabled; its state is {key.state}.")
        if key.usage != usage:
            raise wrong_usage(f"{key.arn} key usage is {key.usage} which is not valid for {operation}.")
        if dry_run:
            raise KmsError("DryRunOperationException", "The request would have succeeded, but DryRun is set.")

    def permit_without_key(self, operation: str) -> None:
        """The same for an operation that uses no key. Raises: Refused."""
        self._judge(operation, None, {}, {})

    def secret(self, name: str, plaintext: bytes) -> Answer:
        """The secret part of an answer: for the recipient's eyes alone, if there is one."""
        if self.recipient is None:
            return {name: encoded(plaintext)}
        return {"CiphertextForRecipient": encoded(self.recipient.seal(plaintext))}

    def _judge(
        self, operation: str, key: Key | None, known: Mapping[str, tuple[str, ...]], context: Mapping[str, str]
    ) -> None:
        measured = facts.of_measurements(self.recipient.said.pcrs) if self.recipient else {}
        call = Call(
            caller=self.caller,
            action=f"kms:{operation}",
            resource=key.arn if key else "*",
            context=context,
            facts={**facts.of_caller(self.caller), **known, **facts.of_context(context), **measured},
        )
        why_not = decision.refusal(call, key.rules if key else None, self._identity)
        if why_not is not None:
            text = f"User: {self.caller.arn} is not authorized to perform: {call.action}"
            raise KmsError("AccessDeniedException", f"{text} on resource: {call.resource} {why_not}")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
