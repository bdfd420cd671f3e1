"""What the local KMS does with one call, from who calls to the line that records it."""

from collections.abc import Callable
from typing import Any

import msgspec
from moto.kms.models import kms_backends

from emulators.iam.policy import BadPolicy, resource_policy
from emulators.kms import callers
from emulators.kms.exchange import Answer, Exchange
from emulators.kms.operations import OPERATIONS, Operation
from emulators.kms.recipient import AttestationRoot, Recipients
from emulators.kms.records import Records, record
from emulators.kms.refusal import KmsError, invalid

# Operations of moto that take a key policy; moto would take any text for one.
_TAKE_POLICIES = {"CreateKey", "PutKeyPolicy", "ReplicateKey"}
# Operations to which moto answers 500 when the key is named by its ARN.
_BY_ID_ALONE = {"EnableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion"}


class Asked(msgspec.Struct, frozen=True):
    """One call as it came."""

    request_id: str
    operation: str
    authorization: str
    token: str
    body: bytes


class Service:
    """Threads may share it."""

    def __init__(
        self, root: AttestationRoot, clock: Callable[[], int], new_id: Callable[[], str], records: Records
    ) -> None:
        self._recipients = Recipients(root)
        self._clock = clock
        self._new_id = new_id
        self._records = records

    def answer(self, asked: Asked) -> Answer | None:
        """The answer; None where nothing speaks against the call and moto is to answer it. Raises: Refused."""
        now_ms = self._clock()
        signed = callers.signed(asked.authorization, asked.token)
        caller, identity = callers.identify(signed, now_ms)
        if signed.region not in kms_backends[caller.account]:
            raise KmsError("InvalidSignatureException", "Credential should be scoped to a valid region.")
        parameters = _parameters(asked.body)
        operation = OPERATIONS.get(asked.operation)
        if operation is None:
            _check_what_passes(asked.operation, parameters)
            return None

        exchange = Exchange(caller, identity, signed.region, lambda info: self._recipients.verified(info, now_ms))
        try:
            answer = _run(asked.operation, operation, parameters, exchange)
        except KmsError as refused:
            self._record(asked, now_ms, parameters, exchange, refused)
            raise
        self._record(asked, now_ms, parameters, exchange, None)
        return answer

    def _record(
        self, asked: Asked, now_ms: int, parameters: dict[str, Any], exchange: Exchange, refused: KmsError | None
    ) -> None:
        self._records.append(
            record(
                event_id=self._new_id(),
                request_id=asked.request_id,
                now_ms=now_ms,
                operation=asked.operation,
                parameters=parameters,
                exchange=exchange,
                refused=refused,
            )
        )


def passed_on(asked: Asked) -> bytes:
    """The body of a call that moto is to answer."""
    parameters = _parameters(asked.body)
    key_id = parameters.get("KeyId")
    if asked.operation not in _BY_ID_ALONE or not isinstance(key_id, str):
        return asked.body
    return msgspec.json.encode(parameters | {"KeyId": key_id.rpartition(":key/")[2]})


def _run(name: str, operation: Operation, parameters: dict[str, Any], exchange: Exchange) -> Answer | None:
    try:
        request = msgspec.convert(parameters, operation.request)
    except msgspec.ValidationError as error:
        raise invalid(f"1 validation error detected: {error}") from None
    if operation.run is not None:
        return operation.run(request, exchange)
    _refuse_recipient(name, parameters)
    exchange.permit(name, exchange.key(request.key_id), operation.usage, dry_run=request.dry_run)
    return None


def _parameters(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except msgspec.DecodeError:
        raise KmsError("SerializationException", "The body is not a JSON object.") from None


def _check_what_passes(name: str, parameters: dict[str, Any]) -> None:
    _refuse_recipient(name, parameters)
    policy = parameters.get("Policy")
    if name not in _TAKE_POLICIES or policy is None:
        return
    try:
        resource_policy(str(policy))
    except BadPolicy as bad:
        raise KmsError("MalformedPolicyDocumentException", str(bad)) from None


def _refuse_recipient(name: str, parameters: dict[str, Any]) -> None:
    if "Recipient" in parameters:
        raise invalid(f"1 validation error detected: {name} takes no Recipient")
