"""An answer on its way out: the headers every inference answer carries, whole or as it comes."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from chalicelib import wiring
from chalicelib.admission import Standing
from chalicelib.call import Delta, Pause, Source, Waiting
from chalicelib.http import problems
from chalicelib.http.cross_origin import headers_for
from chalicelib.http.doors import Piece, Reply
from chalicelib.http.ids import Ids
from chalicelib.http.incoming import Incoming
from chalicelib.http.silence import COMMENT, PING, Promise, refusal_event, streaming_transport
from chalicelib.http.surface import error_to_show, headers_of
from chalicelib.inference.answer import Answer, Loop
from chalicelib.refusal import EngineFailed

INFERENCE_HEADERS = {
    "X-Region": "the region that admitted the request",
    "X-Instance-ID": "the instance that ran the model",
    "X-Request-Duration-Ms": "from the request's arrival to its answer, or to a stream's first byte",
    "X-Queue-Time-Ms": "how long the request waited at the instance, or is predicted to",
    "RateLimit-Policy": "the tenant's limits (draft-ietf-httpapi-ratelimit-headers)",
    "RateLimit": "what remains of each after this request",
}


STREAMS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold what it has back until it is a few kilobytes
}
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", **STREAMS}


def promise(asked: Incoming, refusal: Callable[[bytes], bytes] | None = None) -> None:
    """Say that the answer is going to be a stream of events, or a refusal, to a transport that sends as it comes.

    `refusal`: see Promise; None: as all but one route of that shape have it.
    """
    transport = streaming_transport.get()
    if transport is None or asked.shape == "bedrock":  # AWS's framing has no comments
        return
    headers = EVENTS | {"X-Region": wiring.path().settings.region} | headers_of(asked.ids)
    if asked.shape == "anthropic":
        headers["Request-Id"] = asked.request_id
    origin, tenant = asked.headers.get("origin"), asked.parameters.get("tenant")
    if origin is not None and tenant is not None:
        headers |= headers_for(origin, tenant)
    sign = PING if asked.shape == "anthropic" else COMMENT
    shape = asked.shape
    transport.promised(Promise(headers, sign, refusal or (lambda body: refusal_event(body, shape))))


def buffered(answer: Answer, asked: Incoming, translate: Callable[[bytes], bytes]) -> Reply:
    """The whole answer, read to its end."""
    whole = b""
    with answer:
        for event in answer:
            if isinstance(event, Delta):
                # Before the end is read, which settles: an answer that cannot be used is not charged.
                whole = translate(event.data)
    if not whole:
        raise EngineFailed("The model gave an empty answer. Try again.")
    return Reply(whole, {"Content-Type": "application/json", **inference_headers(answer, asked)})


def streamed(
    answer: Answer,
    asked: Incoming,
    events: Iterable[Piece],
    shape: problems.Shape,
    leave: Callable[[], None] | None = None,
) -> Reply:
    """The answer as server-sent events, as they come; `leave`: see Outflow."""
    headers = EVENTS | inference_headers(answer, asked)
    if answer.buffered:
        headers["X-Stream"] = "buffered"

    ids = asked.ids  # alone: what is kept for the last event keeps no body meanwhile

    def refusal(error: Exception) -> bytes:
        return refusal_event(msgspec.json.encode(problems.body_of(error, shape, ids.request_id)), shape)

    return Reply(Outflow(answer, events, refusal, ids, leave), headers)


def waiting(event: Waiting) -> bytes:
    """Where a queued request stands, as a comment: every client tolerates it, and the connection is not idle."""
    return b": queue_position=%d predicted_start_ms=%d\n\n" % (event.queue_position, event.predicted_start_ms)


class Outflow:
    """The body of a streamed answer. Closing it closes, and so settles, the answer."""

    def __init__(
        self,
        answer: Answer,
        events: Iterable[Piece],
        refusal: Callable[[Exception], bytes] | None,
        ids: Ids,
        leave: Callable[[], None] | None = None,
    ) -> None:
        """`refusal`: its last event, of what it fails by. A sealed answer has none, and breaks off instead.

        `leave`: what else is to be done once nobody reads it, whether it was read to its end, in part, or not at all.
        """
        self._answer = answer
        self._events = events
        self._refusal = refusal
        self._ids = ids
        self._leave = leave

    def __iter__(self) -> Iterator[Piece]:
        try:
            yield from self._events
        except Exception as error:
            yield Pause.ASIDE
            self._answer.fail(error)
            # The status is long gone: the refusal is the last event, in the shape the status would have had.
            error = error_to_show(error, self._ids)
            if self._refusal is not None:
                yield self._refusal(error)

    def polled(self, loop: Loop) -> Source:
        """See Body.polled."""
        return self._answer.polled(loop)

    def close(self) -> None:
        self._answer.close()
        if self._leave is not None:
            self._leave()


def inference_headers(answer: Answer, asked: Incoming) -> dict[str, str]:
    path = wiring.path()
    return {
        "X-Region": path.settings.region,
        "X-Instance-ID": answer.instance,
        "X-Request-Duration-Ms": str(path.clock() - asked.arrived_ms),
        "X-Queue-Time-Ms": str(answer.queue_ms),
        **rate_limit_fields(answer.lease.standing),
    }


def rate_limit_fields(standing: tuple[Standing, ...]) -> dict[str, str]:
    """RateLimit-Policy and RateLimit, one item for each limit (draft-ietf-httpapi-ratelimit-headers-10)."""
    if not standing:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{limit.name}";q={limit.quota};w={limit.window_s}' for limit in standing),
        "RateLimit": ", ".join(
            f'"{limit.name}";r={limit.remaining};t={-(-limit.reset_ms // 1000)}' for limit in standing
        ),
    }
