"""Amazon Bedrock: chats by Converse, Messages by InvokeModel (Anthropic's models); Converse and models' own bodies as
they are.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec

from chalicelib.call import BEDROCKS, MESSAGES, Call, Delta, Finished, Operation, Started, Stream, Usage
from chalicelib.dialects import failures, invoke
from chalicelib.dialects.converse import answers, members, requests, verbatim
from chalicelib.dialects.invoke import Chunks
from chalicelib.dialects.names import Names
from chalicelib.dialects.reader import Reader
from chalicelib.engines.bedrock import profiles
from chalicelib.engines.bedrock.access import Access, Times
from chalicelib.engines.bedrock.failures import Failure, refusal
from chalicelib.engines.bedrock.frames import Frames
from chalicelib.engines.bedrock.profiles import Profiles, Recollection
from chalicelib.engines.secrets_manager import ReadSecret, Secrets
from chalicelib.engines.transport.bounds import ANSWER_LIMIT_BYTES, PROBE_DEADLINE_S, monotonic_ms
from chalicelib.engines.transport.streams import BufferedAnswer, StreamedAnswer
from chalicelib.engines.transport.wire_body import WireBody
from chalicelib.http1.answer import Answer
from chalicelib.pool import Bedrock, BedrockGuardrail, Capacity
from chalicelib.refusal import EngineFailed, Malformed, NoCapacity
from chalicelib.settings import Settings

if TYPE_CHECKING:  # loaded where a target has a secret, or a tenant a guardrail
    from chalicelib.dialects import apply_guardrail
    from chalicelib.engines.bedrock.credentials import Source

OTHERS: tuple[Operation, ...] = ("chat.completions", *BEDROCKS)
ANTHROPICS: tuple[Operation, ...] = (*OTHERS, *MESSAGES)

NOTHING = msgspec.Raw(b"null")

TIMES = Times(monotonic=monotonic_ms, wall=lambda: time.time_ns() // 1_000_000)


class _Errand(NamedTuple):
    """One call's way: where to, to which model, until when."""

    access: Access
    target: Bedrock
    model: str
    profile: str  # to use always; empty: the one that is found, where one is needed
    named: str  # the model as the caller named it; empty where the target did
    until_ms: int


class _Running(NamedTuple):
    answer: Answer
    started: Started


class _Count(msgspec.Struct):
    tokens: int = msgspec.field(name="inputTokens")


_JSON = {"Content-Type": invoke.JSON}


class BedrockEngine:
    """Engine for targets in a `region` of Bedrock. Thread-safe; its clients are made when they are first needed."""

    def __init__(
        self,
        settings: Settings,
        recollection: Recollection,
        read_secret: ReadSecret | None = None,
        times: Times = TIMES,
    ) -> None:
        self._settings = settings
        self._profiles = Profiles(recollection)
        self._read_secret = read_secret or Secrets(settings)
        self._times = times
        self._lock = threading.Lock()
        self._accesses: dict[tuple[str, str], Access] = {}

    def speaks(self, target: Bedrock) -> Collection[Operation]:
        """See Engine.speaks. Anthropic's models speak Messages themselves."""
        model, _ = profiles.split(target.model)
        return ANTHROPICS if "anthropic." in model else OTHERS

    def open(self, target: Bedrock, call: Call) -> Stream:
        """See Engine.open."""
        if call.sealed:
            raise NoCapacity(failures.NO_ENCLAVE)
        errand = self._errand(target, call)
        if call.operation == "chat.completions":
            return self._conversed(errand, call)
        if call.operation == "converse":
            return self._passed(errand, call)
        if call.operation == "invoke":
            return self._invoked(errand, call, invoke.invocation(call, errand.model))
        names = Names()
        body = invoke.messages(call, errand.model, names)
        with _naming(names):
            if call.operation == "messages":
                return self._invoked(errand, call, invoke.Invocation(body))
            return self._counted(errand, body)

    def consult(self, target: Bedrock, question: bytes) -> bytes:  # noqa: ARG002
        """See Engine.consult. There is no enclave before Bedrock."""
        raise NoCapacity(failures.NO_ENCLAVE)

    def probe(self, target: Bedrock) -> Capacity:
        """See Engine.probe. Any answer will do: a real call would cost quota, and Bedrock does not tell of its load."""
        self.access(target).reach(PROBE_DEADLINE_S)
        return Capacity(target.capacity, 0, 0)

    def apply_guardrail(
        self, guardrail: BedrockGuardrail, source: "apply_guardrail.Source", texts: Sequence[str], deadline_ms: int
    ) -> "apply_guardrail.Verdict":
        """What a guardrail says of texts. Raises Unanswered."""
        from chalicelib.engines.bedrock.guardrails import Guardrails  # few tenants have one

        return Guardrails(self.access_to, self._times.monotonic).apply(guardrail, source, texts, deadline_ms)

    def access(self, target: Bedrock) -> Access:
        """The way to the target's Bedrock; the same one each time."""
        return self.access_to(target.region, target.secret)

    def access_to(self, region: str, secret: str) -> Access:
        """The way to Bedrock in a region by a secret, either of which may be empty (see pool.Bedrock)."""
        key = (region, secret)
        found = self._accesses.get(key)
        if found is None:
            with self._lock:
                found = self._accesses.get(key)
                if found is None:
                    source = self._source(*key) if secret else None
                    found = self._accesses[key] = Access(region, source, self._settings, self._times)
        return found

    def _conversed(self, errand: _Errand, call: Call) -> Stream:
        names = Names()
        try:
            asked = msgspec.json.encode(requests.request(call, errand.model, names))
        except RecursionError:
            raise Malformed("The request is nested too deeply for the model.") from None
        with _naming(names):
            running = self._sent(errand, "converse-stream" if call.stream else "converse", _JSON, asked)
        heading = answers.Heading(
            f"chatcmpl-{call.request_id}",
            call.model_name,
            self._times.wall() // 1_000,
            names,
            functions=members.asks("functions", call.fields.get("functions", NOTHING)),
        )
        if call.stream:
            return self._streamed(errand, running, answers.Reader(running.started, heading))
        return BufferedAnswer((running.started, *answers.whole(self._whole(errand, running), heading)))

    def _passed(self, errand: _Errand, call: Call) -> Stream:
        asked = verbatim.request(call)
        running = self._sent(errand, "converse-stream" if call.stream else "converse", _JSON, asked)
        if call.stream:
            return self._streamed(errand, running, verbatim.Reader(running.started))
        return BufferedAnswer((running.started, *verbatim.whole(self._whole(errand, running))))

    def _invoked(self, errand: _Errand, call: Call, asked: invoke.Invocation) -> Stream:
        way = "invoke-with-response-stream" if call.stream else "invoke"
        accepted = "X-Amzn-Bedrock-Accept" if call.stream else "Accept"
        headers = {"Content-Type": asked.content_type, accepted: asked.accept}
        running = self._sent(errand, way, headers, asked.body)
        if call.stream:
            return self._streamed(errand, running, Chunks(running.started, call.operation, call.model_name))
        body, told = self._whole(errand, running), running.answer.headers
        return BufferedAnswer((running.started, *invoke.whole(body, told, call.operation, call.model_name)))

    def _counted(self, errand: _Errand, body: bytes) -> Stream:
        # Of the model itself: a count runs nowhere else, and takes no inference profile.
        asked = msgspec.json.encode({"input": {"invokeModel": {"body": body}}})
        running = self._sent(errand._replace(profile=errand.model), "count-tokens", _JSON, asked)
        try:
            counted = msgspec.json.decode(self._whole(errand, running), type=_Count).tokens
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        return BufferedAnswer((running.started, Delta(b'{"input_tokens":%d}' % counted), Finished(Usage())))

    def _sent(self, errand: _Errand, way: str, headers: Mapping[str, str], body: bytes) -> _Running:
        """The answer to a call of the runtime, through an inference profile where the model wants one.

        Raises: as Engine.open.
        """

        def send(model_id: str) -> _Running:
            path = f"/model/{quote(model_id, safe='')}/{way}"
            answer = errand.access.post(path, headers, body, errand.until_ms)
            return _Running(answer, _started(errand, answer, model_id))

        try:
            return send(errand.profile) if errand.profile else self._profiled(errand, send)
        except Failure as failure:
            raise refusal(failure, errand.target, errand.named) from None

    def _profiled(self, errand: _Errand, send: Callable[[str], _Running]) -> _Running:
        """What `send` gives, with the profile that is known or else found. Raises: Failure, EngineFailed."""
        place = profiles.place_of(errand.target, errand.access.region)
        known = self._profiles.known(place, errand.model)
        try:
            return send(known or errand.model)
        except Failure as failure:
            gone = known != "" and failure.unknown_model
            found = None
            if failure.wants_profile or gone:
                found = profiles.find(errand.access, errand.target, errand.model, errand.until_ms)
            if found is None:
                raise
        running = send(found)
        self._profiles.learn(place, errand.model, found)
        return running

    def _streamed(self, errand: _Errand, running: _Running, reader: Reader) -> Stream:
        return StreamedAnswer(self._body(errand, running), Frames(reader, errand.target))

    def _whole(self, errand: _Errand, running: _Running) -> bytes:
        body = self._body(errand, running)
        try:
            return body.read(ANSWER_LIMIT_BYTES)
        finally:
            body.close()

    def _body(self, errand: _Errand, running: _Running) -> WireBody:
        return WireBody(running.answer, self._times.monotonic, self._settings.idle_deadline_ms, errand.until_ms)

    def _errand(self, target: Bedrock, call: Call) -> _Errand:
        """Raises: Malformed, for a model or a profile that the caller may not name. EngineFailed."""
        access = self.access(target)
        until_ms = self._times.monotonic() + self._settings.answer_deadline_ms
        own, own_profile = profiles.split(target.model)
        own_profile = (target.profile or own_profile) if own else ""
        if own and (not call.model_id or own.startswith("arn:")):  # which no caller could name
            return _Errand(access, target, own, own_profile, "", until_ms)
        try:
            asked = msgspec.json.decode(call.fields.get("inferenceProfile", b"null"), type=str | None) or ""
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Malformed("`inferenceProfile` has to be a text.", field="inferenceProfile") from None
        model, profile = profiles.named(call.model_id, asked, target, access.region)
        if own in ("", model):
            return _Errand(access, target, model, own_profile or profile, call.model_id, until_ms)
        raise Malformed(f"{call.model_name} has one model of its own, and it is not {model!r}.", field="modelId")

    def _source(self, region: str, secret: str) -> "Source":
        # Not at the top: it loads botocore, which whoever calls with the gateway's own role need not wait for.
        from chalicelib.engines.bedrock.credentials import Source

        where = region or self._settings.region
        return Source(secret, where, self._settings, self._read_secret, self._times.wall)


@contextmanager
def _naming(names: Names) -> Iterator[None]:
    """Complaints speak of what the caller knows."""
    try:
        yield
    except Malformed as refused:
        refused.text = names.in_callers(refused.text)
        raise


def _started(errand: _Errand, answer: Answer, model_id: str) -> Started:
    detail = {
        "inference_profile": model_id if model_id != errand.model else "",
        "region": errand.access.region,
        "bedrock_request_id": answer.headers.get("x-amzn-requestid", ""),
    }
    return Started(errand.target.name, detail={name: value for name, value in detail.items() if value})
