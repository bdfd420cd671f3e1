"""An instant OpenAI-compatible engine: `python -m bench.upstream PORT [JWKS]`.

A prompt that contains `paced` is streamed with a pause before every chunk but the first; everything else
is answered at once. The answers are the same bytes for everyone. With a JWK set it is the issuer of tokens, too.
"""

import asyncio
import json
import sys

from bench.wire import Handler, Reply, Request, reply, serve

CHUNKS = 50
PACE_S = 0.002
PROMPT_TOKENS = 12
MODEL = "bench"

_USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": CHUNKS, "total_tokens": PROMPT_TOKENS + CHUNKS}
_CREATED = 1_750_000_000


def chunk(choices: list[dict[str, object]], **more: object) -> bytes:
    """An event of a stream."""
    body = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": _CREATED, "model": MODEL}
    return b"data: " + json.dumps({**body, "choices": choices, **more}, separators=(",", ":")).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    """As one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _deltas() -> list[bytes]:
    """CHUNKS chunks of text, each as one HTTP chunk; the first names the role too."""
    first = chunk([{"index": 0, "delta": {"role": "assistant", "content": "word"}, "finish_reason": None}])
    rest = chunk([{"index": 0, "delta": {"content": " word"}, "finish_reason": None}])
    return [framed(first)] + [framed(rest)] * (CHUNKS - 1)


def _closing() -> bytes:
    stop = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return framed(stop) + framed(chunk([], usage=_USAGE)) + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


_ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": _CREATED,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": " ".join(["word"] * CHUNKS)},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": _USAGE,
}
UNARY = reply(json.dumps(_ANSWER, separators=(",", ":")).encode())
HEALTH = reply(b'{"status":"ok","instance":"bench","capacity":64,"in_flight":0,"queue_depth":0}')
_MODEL = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": MODEL}
MODELS = reply(json.dumps({"object": "list", "data": [_MODEL]}).encode())
NOT_FOUND = reply(b'{"error":{"message":"no such route","type":"not_found","code":null}}', status="404 Not Found")
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
DELTAS = _deltas()
CLOSING = _closing()
STREAM = STREAM_HEAD + b"".join(DELTAS) + CLOSING

_running: set[asyncio.Task[None]] = set()


async def _paced(to: Reply) -> None:
    """Each chunk in its own write, as a model produces them."""
    to.write(STREAM_HEAD + DELTAS[0])
    for delta in DELTAS[1:]:
        await asyncio.sleep(PACE_S)
        if not to.alive:
            return
        to.write(delta)
    to.write(CLOSING)


def answer(request: Request, to: Reply) -> None:
    if request.method == b"POST" and request.path.startswith(b"/v1/chat/completions"):
        if b'"stream":true' not in request.body.replace(b'": ', b'":'):
            to.write(UNARY)
        elif b"paced" in request.body:
            task = asyncio.get_running_loop().create_task(_paced(to))
            _running.add(task)
            task.add_done_callback(_running.discard)
        else:
            to.write(STREAM)
    elif request.path in (b"/health", b"/ping", b"/v1/health"):
        to.write(HEALTH)
    elif request.path == b"/v1/models":
        to.write(MODELS)
    else:
        to.write(NOT_FOUND)


def with_keys(port: int, jwks: str) -> Handler:
    """The same engine, which says whose tokens are good."""
    url = f"http://127.0.0.1:{port}"
    configuration = reply(json.dumps({"issuer": url, "jwks_uri": f"{url}/keys"}).encode())
    pages = {b"/.well-known/openid-configuration": configuration, b"/keys": reply(jwks.encode())}

    def answered(request: Request, to: Reply) -> None:
        page = pages.get(request.path)
        to.write(page) if page else answer(request, to)

    return answered


if __name__ == "__main__":
    at = int(sys.argv[1])
    serve(at, with_keys(at, sys.argv[2]) if sys.argv[2:] else answer)
