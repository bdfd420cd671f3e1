"""Whichever door a call to Bedrock comes in by, an audit finds it. A door more is here as soon as it is declared."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.call import Call, Delta, Finished, Operation, Started, Usage
from chalicelib.engines.scripted import Step
from chalicelib.http.asks import CLASSIFICATIONS
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.ledger import Audited, Entry
from chalicelib.pool import Bedrock, Pool, Scripted, Target
from tests.api import signing
from tests.api.test_permissions import TABLE
from tests.engines import answers, messages, responses
from tests.small_deployments import T0, Answer, Deployment, Gateway

MODEL = "anthropic.claude-x"
OPERATIONS: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings", "invoke")
DETAIL = {"inference_profile": "us-gov.anthropic.claude-x", "region": "us-gov-west-1"}
SEALED = b"what only an enclave can read"


class Manner(NamedTuple):
    """A door, and how a call comes in by it."""

    route: Route
    how: str

    @property
    def name(self) -> str:
        return f"{self.route.name} {self.how}"


INFERENCE = [route for route in ROUTES if route.infers]
MANNERS = [
    *(Manner(route, "clear") for route in INFERENCE),
    *(Manner(route, "streamed") for route in INFERENCE if route.streams),
    *(Manner(route, "sealed") for route in INFERENCE if route.seals),
]
every_manner = pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.name)


class Caller:
    """Sends what the door takes, and has what became of it."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self._gateway = gateway
        self._deployment = deployment
        self._key = deployment.key()

    def __call__(self, manner: Manner, classification: str = "cui") -> Answer:
        route = manner.route
        path = route.path.format(tenant="acme", model="m")
        headers = {"X-Data-Classification": classification, "Content-Type": "application/json", "X-Request-ID": "r-1"}
        if manner.how == "sealed":
            headers |= {"Content-Type": "application/octet-stream", "X-Seal-Mode": "hpke", "X-Model-Pool": "model-a"}
        if route.auth == "key":
            headers["X-API-Key"] = self._key
            return self._gateway.call(route.method, path, body=self.body(manner), headers=headers)
        return signing.call(self._gateway, route.method, path, self.body(manner), headers)

    def body(self, manner: Manner) -> bytes:
        if manner.how == "sealed":
            return SEALED
        asked = TABLE[f"{manner.route.method} {manner.route.path}"].body or {}
        return msgspec.json.encode({**asked, "stream": manner.how == "streamed"})

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self._deployment.store.ledger.page("acme", 0, T0 * 2, None, 10).entries


def deltas(call: Call) -> list[bytes]:
    """An answer in the dialect that was asked."""
    if call.operation == "messages":
        return [*map(msgspec.json.encode, messages.STREAM if call.stream else [messages.WHOLE])]
    if call.operation == "responses":
        return responses.deltas(call)
    return [answers.said("Hello"), answers.said(" there")] if call.stream else [answers.WHOLE]


def answer(_target: Target, call: Call) -> Iterable[Step]:
    return (Started("there", detail=DETAIL), *map(Delta, deltas(call)), Finished(Usage(7, 2)))


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def deployment(calls: list[Call]) -> Iterator[Deployment]:
    """A tenant whose only pool is a model of Bedrock's, in another partition."""

    def noted(target: Target, call: Call) -> Iterable[Step]:
        calls.append(call)
        return answer(target, call)

    deployment = Deployment(script=noted)
    deployment.kinds = ("bedrock", "scripted")
    target = Bedrock("there", model=MODEL, region="us-gov-west-1")
    deployment.tenancy.put_pool(Pool("model-a", (target,), OPERATIONS, sealed=True))
    deployment.tenant()
    deployment.tenancy.principals.put("acme", (signing.OWNER.arn,))
    with wiring.opening_into(deployment.rooms()):
        yield deployment


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Caller:
    return Caller(gateway, deployment)


def test_there_are_doors_of_every_kind() -> None:
    assert {"clear", "streamed", "sealed"} == {manner.how for manner in MANNERS}
    assert {"native", "openai", "anthropic", "bedrock"} == {manner.route.surface for manner in MANNERS}


@every_manner
def test_a_call_to_bedrock_is_audited_with_its_classification(
    caller: Caller, calls: list[Call], manner: Manner
) -> None:
    told = caller(manner)
    assert told.status == 200, told.body
    (entry,) = caller.entries
    signed = manner.route.auth != "key"
    assert (entry.tokens_in, entry.tokens_out) == (7, 2)
    assert entry.audited == Audited(
        user_arn=signing.OWNER.arn if signed else "",
        source_ip="127.0.0.1",
        source_partition="commercial",
        destination_partition="govcloud",
        model_id="m" if manner.route.surface == "bedrock" else MODEL,  # whose callers name it
        inference_profile="us-gov.anthropic.claude-x",
        request_bytes=len(caller.body(manner)),
        response_bytes=sum(map(len, deltas(calls[0]))),
        data_classification="cui",
    )


@pytest.mark.parametrize(
    "manner", [each for each in MANNERS if each.route.surface != "bedrock"], ids=lambda each: each.name
)
def test_a_call_that_stays_with_our_own_models_is_not(caller: Caller, deployment: Deployment, manner: Manner) -> None:
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("here"),), OPERATIONS, sealed=True))
    assert caller(manner).status == 200
    assert [entry.audited for entry in caller.entries] == [None]


@every_manner
def test_a_classification_that_there_is_not_is_refused_before_anything_is_run(
    caller: Caller, calls: list[Call], manner: Manner
) -> None:
    refused = caller(manner, "top-secret")
    assert refused.status == 400
    assert b"X-Data-Classification" in refused.body
    assert all(each.encode() in refused.body for each in CLASSIFICATIONS)
    assert (calls, caller.entries) == ([], ())
