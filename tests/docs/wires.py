"""Servers of others, as they write: what differs between them where a gateway may stumble.

The health of vLLM and TGI is an empty body; Ollama, OpenAI and OpenRouter have none. TGI takes any model, says no name
for an answer's id and puts no space behind `data:`; Ollama gives each piece a role; OpenAI pads pieces and says `usage:
null` until the end; OpenRouter comments while it waits, and tells the usage with a choice. Errors differ everywhere.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from tests.engines.servers import LAST_CHUNK, Handler, Request, Wire, chunk, head, stream_head, whole

KEY = "sk-a-key-of-the-pages-0123456789"
SAID = ("Hello", " there")
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


class Kind(NamedTuple):
    """How one server writes."""

    answer: dict[str, Any]  # what its answers have besides; `id` among it
    pieces: Callable[[str], Iterable[bytes]]  # a stream's lines, for the model that was asked for
    refused: Callable[[str], bytes]  # for a model that it does not have
    model: str | None = None  # that it has; None: any
    health: bytes | None = None  # None: it has no such route
    key: str = ""  # that it wants
    root: str = "/v1"


def server(kind: Kind) -> Handler:
    def serve(request: Request, wire: Wire) -> None:
        if kind.key and request.headers.get("authorization") != f"Bearer {kind.key}":
            error = {
                "message": "Incorrect API key provided.",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
            wire.send(whole(msgspec.json.encode({"error": {**error, "param": None}}), 401))
        elif (request.method, request.path) == ("GET", kind.root.removesuffix("/v1") + "/health"):
            wire.send(_health(kind))
        elif (request.method, request.path) == ("GET", f"{kind.root}/models"):
            wire.send(whole(b'{"object":"list","data":[]}'))
        elif (request.method, request.path) == ("POST", f"{kind.root}/chat/completions"):
            _chat(kind, msgspec.json.decode(request.body), wire)
        else:
            wire.send(whole(b"404 page not found", 404, content_type="text/plain"))

    return serve


def _health(kind: Kind) -> bytes:
    if kind.health is None:
        return whole(b"404 page not found", 404, content_type="text/plain")
    return head(200, content_length=str(len(kind.health))) + kind.health


def _chat(kind: Kind, asked: dict[str, Any], wire: Wire) -> None:
    if kind.model not in (None, asked["model"]):
        wire.send(whole(kind.refused(asked["model"]), 404))
    elif asked.get("stream"):
        assert asked["stream_options"] == {"include_usage": True}
        wire.send(stream_head(), *map(chunk, kind.pieces(asked["model"])), LAST_CHUNK)
    else:
        message = {"role": "assistant", "content": "".join(SAID)}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        body = {"object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice]}
        wire.send(whole(msgspec.json.encode({**kind.answer, **body, "usage": USAGE})))


def _line(value: object, prefix: bytes = b"data: ") -> bytes:
    return prefix + msgspec.json.encode(value) + b"\n\n"


def _piece(
    model: str, of: dict[str, Any], delta: dict[str, Any], why: str | None = None, **more: Any
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": why}
    return {**of, "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice], **more}


def _counted(model: str, of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**_piece(model, of, {}), "choices": [], "usage": USAGE, **more}


# https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/
def _vllm(model: str) -> Iterable[bytes]:
    of = {"id": "chatcmpl-5f"}
    yield _line(_piece(model, of, {"role": "assistant", "content": ""}))
    yield from (_line(_piece(model, of, {"content": said})) for said in SAID)
    yield _line(_piece(model, of, {"content": ""}, "stop", stop_reason=None))
    yield _line(_counted(model, of))
    yield b"data: [DONE]\n\n"


# https://github.com/huggingface/text-generation-inference/blob/main/router/src/chat.rs
def _tgi(model: str) -> Iterable[bytes]:
    of = {"id": "", "system_fingerprint": "3.0.1-native"}
    for said in SAID:
        yield _line(_piece(model, of, {"role": "assistant", "content": said}), b"data:")
    yield _line(_piece(model, of, {"role": "assistant", "content": ""}, "stop"), b"data:")
    yield _line(_counted(model, of), b"data:")
    yield b"data: [DONE]\n\n"


# https://github.com/ollama/ollama/blob/main/openai/openai.go, and middleware/openai.go
def _ollama(model: str) -> Iterable[bytes]:
    of = {"id": "chatcmpl-768", "system_fingerprint": "fp_ollama"}
    yield from (_line(_piece(model, of, {"role": "assistant", "content": said})) for said in SAID)
    yield _line(_piece(model, of, {"role": "assistant", "content": ""}, "stop"))
    yield _line(_counted(model, of))
    yield b"data: [DONE]\n\n"


# https://platform.openai.com/docs/api-reference/chat-streaming
def _openai(model: str) -> Iterable[bytes]:
    of = {"id": "chatcmpl-B9", "service_tier": "default", "system_fingerprint": "fp_44"}
    rest = {"usage": None, "obfuscation": "pZ0"}
    yield _line(_piece(model, of, {"role": "assistant", "content": "", "refusal": None}, **rest))
    yield from (_line(_piece(model, of, {"content": said}, **rest)) for said in SAID)
    yield _line(_piece(model, of, {}, "stop", **rest))
    yield _line(_counted(model, of, obfuscation="Q"))
    yield b"data: [DONE]\n\n"


# https://openrouter.ai/docs/api/reference/streaming
def _openrouter(model: str) -> Iterable[bytes]:
    of = {"id": "gen-17", "provider": "Together"}
    yield b": OPENROUTER PROCESSING\n\n"
    yield b": OPENROUTER PROCESSING\n\n"
    yield from (_line(_piece(model, of, {"role": "assistant", "content": said})) for said in SAID)
    yield _line(_piece(model, of, {"role": "assistant", "content": ""}, "stop"))
    yield _line(_piece(model, of, {"role": "assistant", "content": ""}, usage={**USAGE, "cost": 0.0000014}))
    yield b"data: [DONE]\n\n"


def _error(**members: object) -> bytes:
    return msgspec.json.encode({"error": members})


VLLM = Kind(
    {"id": "chatcmpl-5f", "prompt_logprobs": None, "kv_transfer_params": None},
    _vllm,
    lambda model: _error(message=f"The model `{model}` does not exist.", type="NotFoundError", param="model", code=404),
    "meta-llama/Llama-3.1-8B-Instruct",
    health=b"",
)
TGI = Kind({"id": "", "system_fingerprint": "3.0.1-native"}, _tgi, lambda _model: b"", health=b"")
OLLAMA = Kind(
    {"id": "chatcmpl-768", "system_fingerprint": "fp_ollama"},
    _ollama,
    lambda model: _error(message=f'model "{model}" not found', type="not_found_error", param=None, code=None),
    "llama3.2",
)
OPENAI = Kind(
    {"id": "chatcmpl-B9", "service_tier": "default"},
    _openai,
    lambda model: _error(
        message=f"The model `{model}` does not exist", type="invalid_request_error", code="model_not_found"
    ),
    "gpt-4o-mini",
    key=KEY,
)
OPENROUTER = Kind(
    {"id": "gen-17", "provider": "Together"},
    _openrouter,
    lambda model: _error(message=f"{model} is not a valid model ID", code=400),
    "meta-llama/llama-3.3-70b-instruct",
    key=KEY,
    root="/api/v1",
)
