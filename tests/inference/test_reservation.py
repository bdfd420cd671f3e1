"""What a request reserves for its prompt, and what is said where an engine counts more."""

from typing import Any

import msgspec
import pytest

from chalicelib.admission.limits import Limits
from chalicelib.call import Delta, Finished, Started, Usage
from chalicelib.tenancy import Change
from tests.inference.acme import PROMPT_TOKENS, Acme
from tests.small_deployments import Deployment


def test_what_an_engine_counts_over_the_reservation_is_never_silent(capsys: pytest.CaptureFixture[str]) -> None:
    list(Acme(lambda _target, _call: (Started("i"), Delta(b"{}", 1), Finished(Usage(5_000, 100)))).run())
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    (over,) = [line for line in lines if "ReservationExceeded" in line]
    assert (over["pool"], over["tokens"]) == ("model-a", 5_000 - PROMPT_TOKENS)


@pytest.mark.parametrize(("cached_price", "micro_usd"), [(None, 13), (1_000_000, 13), (100_000, 9), (0, 8)])
def test_what_the_engine_had_read_before_has_a_price_of_its_own(cached_price: int | None, micro_usd: int) -> None:
    acme = Acme(lambda _target, _call: (Started("i"), Delta(b"{}"), Finished(Usage(7, 2, 5))))
    prices = {"input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 3_000_000}
    pool = msgspec.structs.replace(acme.deployment.pool(), **prices, cached_micro_usd_per_mtok=cached_price)
    acme.deployment.tenancy.put_pool(pool)
    list(acme.run())
    entry = acme.entry()
    assert (entry.used.tokens, entry.used.micro_usd, entry.charged) == (9, micro_usd, entry.used)
    assert (entry.tokens_in, entry.tokens_out, entry.tokens_cached) == (7, 2, 5)


PNG = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAoAAAAHg" + "A" * 800_000  # 640 by 480 pixels
ON_THE_WEB = "https://example.com/picture.png"


@pytest.mark.parametrize(
    ("url", "limits", "tokens"),
    [
        (PNG, {}, 256 + 410),
        (PNG, {"image_tokens": 500}, 500),
        (ON_THE_WEB, {}, 1_600),
        (ON_THE_WEB, {"image_tokens": 9_000}, 9_000),
    ],
)
def test_an_image_weighs_by_its_pixels_or_what_its_pool_says(url: str, limits: Any, tokens: int) -> None:
    deployment = Deployment(script=lambda _target, _call: (Started("i"), Delta(b"{}"), Finished(Usage(950, 5))))
    acme = Acme(deployment=deployment)
    deployment.tenancy.put_pool(msgspec.structs.replace(deployment.pool("model-a", "a"), **limits))
    part = {"type": "image_url", "image_url": {"url": url}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    text = len(msgspec.json.encode(messages)) - len(msgspec.json.encode(part["image_url"]))
    with acme.run(fields={"messages": msgspec.Raw(msgspec.json.encode(messages))}) as answer:
        assert acme.held()[1] == -(-text // 3) + tokens + 100
        list(answer)
    reserved = -(-text // 3) + tokens + 100
    assert acme.entry().charged.tokens == min(955, reserved)


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "input_audio", "input_audio": {"data": "A" * 40_000, "format": "wav"}}, 10_000),
        ({"type": "input_audio", "input_audio": {"data": "A" * 800_000, "format": "wav"}}, 12_345),
        ({"type": "file", "file": {"file_id": "file-1"}}, 12_345),
    ],
)
def test_a_recording_or_a_document_weighs_by_its_own_size_and_at_most_what_its_pool_says(
    part: dict[str, Any], tokens: int
) -> None:
    acme = Acme()
    acme.deployment.tenancy.put_pool(msgspec.structs.replace(acme.deployment.pool(), file_tokens=12_345))
    acme.deployment.tenancy.change_tenant("acme", Change(limits=Limits((), (), 2)))
    messages = [{"role": "user", "content": [part]}]
    written = [value for name, value in part.items() if name != "type"]
    text = len(msgspec.json.encode(messages)) - len(msgspec.json.encode(written[0]))
    with acme.run(fields={"messages": msgspec.Raw(msgspec.json.encode(messages))}) as answer:
        assert answer.lease.reserved.tokens == -(-text // 3) + tokens + 100
