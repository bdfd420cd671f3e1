"""A target of every kind, with the engine that calls it, for the suite that every engine must pass.

A kind more: its class here, and in `HARNESSES`.
"""

import contextlib
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Operation, Started, Usage
from chalicelib.dialects.failures import NO_ENCLAVE, UNREACHABLE
from chalicelib.engines import Engine
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.engines.scripted import ScriptedEngine, Step
from chalicelib.pool import Bedrock, Capacity, OpenAICompatible, SageMaker, Scripted, Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, TooLarge
from chalicelib.settings import Settings
from tests.engines import bedrocks, messages, responses, sagemaker_server
from tests.engines.answers import DONE, USAGE_CHUNK, WHOLE, event, said
from tests.engines.frames import model_chunk, part, told
from tests.engines.servers import LAST_CHUNK, Request, chunk, head, stream_head, whole
from tests.engines.wired import CEILING, USAGE, Deed, Heard, Pieces, What, Wired, call_of, ceilings

QUEUED = b": queue_position=1 predicted_start_ms=40\n\n"
BEGUN = event(said("Hello"))
REST = event(said(" there")) + event(USAGE_CHUNK) + DONE
HEALTH = b'{"status":"ok","instance":"i-9","capacity":4,"in_flight":1,"queue_depth":2}'


def _error(code: str, complaint: str) -> bytes:
    return msgspec.json.encode({"error": {"message": complaint, "code": code}})


class OpenAIHarness(Wired):
    kind = OpenAICompatible

    def _target_at(self, root: str) -> Target:
        return OpenAICompatible("gpu-1", model="org/model", capacity=3, url=f"{root}/v1")

    def _secrets(self) -> tuple[str, ...]:
        return (f"{self._server.root}/v1",)

    def _engine_at(self, root: str, settings: Settings) -> Engine[Any]:
        return OpenAICompatibleEngine(settings)

    def _heard(self, request: Request) -> Heard:
        if request.path == "/health":
            return Heard("probe")
        what = _operation(request.path.removeprefix("/v1/").replace("/", "."))
        return _heard_chat(what, request.body)

    def _whole(self, what: What) -> bytes:
        return whole(HEALTH if what == "probe" else WHOLE)

    def _stream(self, what: What) -> Pieces:
        return Pieces(stream_head(), chunk(QUEUED + BEGUN), chunk(REST), LAST_CHUNK)

    def _refusal(self, status: int, code: str, complaint: str) -> bytes:
        return whole(_error(code, complaint), status)


class ComponentHarness(Wired):
    """An inference component."""

    kind = SageMaker

    def _target_at(self, root: str) -> Target:
        return sagemaker_server.COMPONENT

    def _secrets(self) -> tuple[str, ...]:
        return ("shared", "model-a-component")

    def _engine_at(self, root: str, settings: Settings) -> Engine[Any]:
        return sagemaker_server.engine_at(root, settings)

    def _heard(self, request: Request) -> Heard:
        said = request.headers["x-amzn-sagemaker-custom-attributes"].partition(";")[0].removeprefix("op=")
        return Heard("probe") if said == "probe" else _heard_chat(_operation(said), request.body)

    def _whole(self, what: What) -> bytes:
        return whole(HEALTH if what == "probe" else WHOLE)

    def _stream(self, what: What) -> Pieces:
        return Pieces(sagemaker_server.FRAMED_HEAD, chunk(part(QUEUED + BEGUN)), chunk(part(REST)), LAST_CHUNK)

    def _refusal(self, status: int, code: str, complaint: str) -> bytes:
        return sagemaker_server.model_error(status, _error(code, complaint).decode())


class MultiModelHarness(ComponentHarness):
    """A model of a multi-model endpoint, which answers a stream at once."""

    def _target_at(self, root: str) -> Target:
        return sagemaker_server.MULTI_MODEL

    def _secrets(self) -> tuple[str, ...]:
        return ("many", "model-a.tar.gz")

    def _stream(self, what: What) -> Pieces:
        return Pieces(stream_head(), chunk(QUEUED + BEGUN), chunk(REST), LAST_CHUNK)


FRAMED = head(content_type="application/vnd.amazon.eventstream", transfer_encoding="chunked")
NOVAS = {"messages": [], "inferenceConfig": {"maxTokens": 999, "max_new_tokens": 999}}
MEASURED = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 2}}


class ConverseHarness(Wired):
    """A model of Bedrock that speaks chats, by Converse, and its own body."""

    kind = Bedrock
    understood = frozenset(("chat.completions", "invoke", "probe"))
    _aim = bedrocks.ON_NOVA

    def __init__(self) -> None:
        super().__init__()
        self.capacity = Capacity(self.target.capacity, 0, 0)  # Bedrock does not tell

    def call(self, operation: Operation, *, stream: bool = False, fields: Mapping[str, object] = {}) -> Call:
        if operation == "converse":
            call = bedrocks.converse(self._aim.model, {"messages": [], **fields}, stream=stream)
            return msgspec.structs.replace(call, ceiling_tokens=CEILING)
        if operation != "invoke":
            return call_of(operation, stream, fields)
        body = bedrocks.anthropic() if "anthropic" in self._aim.model else NOVAS
        call = bedrocks.invoke(self._aim.model, {**body, **fields}, stream=stream)
        return msgspec.structs.replace(call, ceiling_tokens=CEILING)

    def _target_at(self, root: str) -> Target:
        return self._aim

    def _secrets(self) -> tuple[str, ...]:
        return ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",)

    def _engine_at(self, root: str, settings: Settings) -> Engine[Any]:
        engine = bedrocks.sandbox(settings=settings, clocks=bedrocks.Clocks())
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", root)
            environment.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "example")
            with contextlib.suppress(EngineFailed):
                engine.probe(self._aim)  # its client is made, which remembers all this
        return engine

    def _heard(self, request: Request) -> Heard:
        if request.method == "GET":
            return Heard("probe")
        way = request.path.rpartition("/")[2]
        body = msgspec.json.decode(request.body)
        own: What = "messages" if "anthropic_version" in body else "invoke"
        ways: dict[str, What] = {"converse": "chat.completions", "count-tokens": "messages.count_tokens", "invoke": own}
        return Heard(ways[way.partition("-stream")[0].removesuffix("-with-response")], "-stream" in way, ceilings(body))

    def _whole(self, what: What) -> bytes:
        if what == "chat.completions":
            message = {"role": "assistant", "content": [{"text": "Hello there"}]}
            usage = {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}
            said: object = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
        else:
            said = {"inputTokens": 7} if what == "messages.count_tokens" else messages.WHOLE
        counts = {"x_amzn_bedrock_input_token_count": "7", "x_amzn_bedrock_output_token_count": "2"}
        return whole(msgspec.json.encode(said), **counts)

    def _stream(self, what: What) -> Pieces:
        if what == "chat.completions":
            told_so_far = [told("messageStart", role="assistant"), _spoken("Hello")]
            usage = {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}
            last = [told("contentBlockStop", contentBlockIndex=0), told("messageStop", stopReason="end_turn")]
            rest = [_spoken(" there"), *last, told("metadata", usage=usage)]
        else:
            pieces = [*map(model_chunk, messages.STREAM[:-1]), model_chunk(messages.STREAM[-1] | MEASURED)]
            told_so_far, rest = pieces[:3], pieces[3:]
        return Pieces(FRAMED, chunk(b"".join(told_so_far)), chunk(b"".join(rest)), LAST_CHUNK)

    def _refusal(self, status: int, code: str, complaint: str) -> bytes:
        kind = {400: "ValidationException", 503: "ServiceUnavailableException"}.get(status, "TooLargeException")
        return whole(msgspec.json.encode({"message": complaint}), status, x_amzn_errortype=kind)


class AnthropicHarness(ConverseHarness):
    """One of Anthropic's models on Bedrock, which speaks Messages as well."""

    understood = frozenset(("chat.completions", "messages", "messages.count_tokens", "probe"))
    _aim = bedrocks.ON_HAIKU


def _spoken(text: str) -> bytes:
    return told("contentBlockDelta", delta={"text": text}, contentBlockIndex=0)


def _operation(name: str) -> Operation:
    found: Operation = msgspec.convert(name, Operation)
    return found


def _heard_chat(what: What, body: bytes) -> Heard:
    asked = msgspec.json.decode(body)
    return Heard(what, asked.get("stream", False), ceilings(asked))


class ScriptedHarness:
    """The scripted engine, whose target and engine are one."""

    kind: ClassVar[type[Target]] = Scripted

    def __init__(self) -> None:
        self.deed: Deed = "answer"
        self.heard: list[Heard] = []
        self.secrets: tuple[str, ...] = ()
        self.capacity = Capacity(4, 1, 2, "i-9")
        self.target: Target = Scripted("a", url="http://a/v1", capacity=3)
        self.engine = ScriptedEngine(lambda _target, call: self._script(call, threading.Event()), self._probe)
        self.impatient = ScriptedEngine(lambda _target, call: self._script(call, EngineTimedOut("silent")))
        nobody = EngineFailed(UNREACHABLE)
        self.gone: tuple[Engine[Any], Target] = (
            ScriptedEngine(lambda _target, _call: (nobody,), lambda _target: nobody),
            self.target,
        )

    def reset(self) -> None:
        self.deed = "answer"
        self.heard.clear()

    def call(self, operation: Operation, *, stream: bool = False, fields: Mapping[str, object] = {}) -> Call:
        return call_of(operation, stream, fields)

    def was_left(self) -> bool:
        return self.engine.running == self.impatient.running == 0

    def close(self) -> None: ...

    def _script(self, call: Call, silence: Step) -> list[Step]:
        self.heard.append(Heard(call.operation, call.stream, (call.ceiling_tokens,) if call.ceiling_tokens else ()))
        if call.sealed:
            return [NoCapacity(NO_ENCLAVE)]
        deltas = self._deltas(call)
        begun: list[Step] = [Started("i-9"), deltas[0]] if call.stream else []
        deeds: dict[Deed, list[Step]] = {
            "answer": [Started("i-9"), *deltas, Finished(_usage_of(call))],
            "find malformed": [Malformed("bad seed")],
            "find too large": [TooLarge("too large")],
            "be full": [NoCapacity("full")],
            "break off": [EngineFailed("broke off")],
            "break off midway": [*begun, EngineFailed("broke off")],
            "end midway": begun,
            "be silent": [silence],
            "be silent midway": [*begun, silence],
        }
        return deeds[self.deed]

    @staticmethod
    def _deltas(call: Call) -> list[Step]:
        if call.operation == "messages.count_tokens":
            return [Delta(b'{"input_tokens":7}')]
        if call.operation == "messages":
            told = messages.STREAM if call.stream else [messages.WHOLE]
            return [_scripted(msgspec.json.encode(each), 1, call) for each in told]
        if call.operation == "responses":
            return [Delta(each, 1) for each in responses.deltas(call)]
        pieces = [(said("Hello"), 1), (said(" there"), 1)] if call.stream else [(WHOLE, 2)]
        return [_scripted(data, tokens, call) for data, tokens in pieces]

    def _probe(self, _target: Target) -> Capacity | Refusal:
        well = self.deed in ("answer", "drip")
        return self.capacity if well else EngineTimedOut("silent") if "silent" in self.deed else EngineFailed("unwell")


def _scripted(data: bytes, tokens: int, call: Call) -> Step:
    """What a script says is all that is said: the model's name, too."""
    return Delta(data.replace(b'"model-a"', msgspec.json.encode(call.model_name)), tokens)


def _usage_of(call: Call) -> Usage:
    return Usage(7) if call.operation == "messages.count_tokens" else USAGE


Harness = Wired | ScriptedHarness

HARNESSES: dict[str, type[Wired] | type[ScriptedHarness]] = {
    "sagemaker component": ComponentHarness,
    "sagemaker multi-model": MultiModelHarness,
    "openai-compatible": OpenAIHarness,
    "bedrock": ConverseHarness,
    "bedrock anthropic": AnthropicHarness,
    "scripted": ScriptedHarness,
}
