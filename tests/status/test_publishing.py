"""The page as files in S3, as the local cloud has it: put where it changed, and again before it would look stale."""

from collections.abc import Iterator

import boto3
import msgspec
import pytest

from chalicelib.signature import Credentials
from chalicelib.status.aws import AwsService
from chalicelib.status.board import Board
from chalicelib.status.minutes import MINUTE_MS
from chalicelib.status.publishing import AGAIN_MS, NotPublished, Publisher
from tests.status.worlds import AWAY, World
from tests.stores import REGION, Served

KEY = Credentials("AKIAEXAMPLEEXAMPLE00", "example")


class Bucket:
    def __init__(self, url: str, name: str) -> None:
        self._client = boto3.client("s3", endpoint_url=url, region_name=REGION)
        self._client.create_bucket(Bucket=name)
        self.name = name
        self.s3 = AwsService("s3", "s3", REGION, lambda: KEY, url)

    def read(self, name: str) -> tuple[str, str]:
        found = self._client.get_object(Bucket=self.name, Key=f"status/{name}")
        return found["ContentType"], found["Body"].read().decode()


@pytest.fixture
def bucket(stores: Served, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    yield Bucket(stores.url("local"), f"page-{abs(hash(request.node.name)) % 10**9}")


def test_the_files_are_the_page_and_say_when_they_were_made(bucket: Bucket) -> None:
    world = World()
    world.minute(AWAY)
    assert Publisher(bucket.s3, bucket.name).publish(world.board())
    kind, text = bucket.read("status.json")
    assert kind == "application/json"
    assert msgspec.json.decode(text, type=Board) == world.board()
    kind, text = bucket.read("index.html")
    assert kind == "text/html; charset=utf-8"
    assert "As of <time" in text
    assert "2026-11-18 11:07 UTC" in text
    assert "the page is stale" in text
    assert 'href="status.json"' in text
    assert "<form" not in text


def test_what_has_not_changed_is_put_again_only_before_it_would_look_stale(bucket: Bucket) -> None:
    world = World()
    publisher = Publisher(bucket.s3, bucket.name)
    board = world.board()
    assert publisher.publish(board)
    assert not publisher.publish(msgspec.structs.replace(board, made_ms=board.made_ms + AGAIN_MS - 1))
    assert publisher.publish(msgspec.structs.replace(board, made_ms=board.made_ms + AGAIN_MS))
    world.now_ms += AGAIN_MS + MINUTE_MS
    world.minute(AWAY)
    assert publisher.publish(world.board())


def test_what_a_bucket_does_not_take_is_told_and_put_the_next_time(bucket: Bucket) -> None:
    board = World().board()
    with pytest.raises(NotPublished, match="404"):
        Publisher(bucket.s3, "no-such-bucket").publish(board)
    nowhere = AwsService("s3", "s3", REGION, lambda: KEY, "http://127.0.0.1:9")
    with pytest.raises(NotPublished):
        Publisher(nowhere, bucket.name).publish(board)
