"""The page as static files in a bucket, so that it is still there when the gateway is not, and says since when."""

import hashlib
from collections.abc import Mapping

import msgspec

from chalicelib.status.aws import AwsService, Unheard
from chalicelib.status.board import Board
from chalicelib.status.page import page

FOLDER = "status"
FRESH_S = 30
AGAIN_MS = 300_000
"""After which it is put again as it is: its time is what tells that somebody still looks."""


class NotPublished(Exception):
    """The bucket did not take a file; the text is its status, or a code. The next round puts all of them again."""


class Publisher:
    """Of one process, which remembers what it has put last."""

    def __init__(self, s3: AwsService, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._last: Board | None = None

    def publish(self, board: Board) -> bool:
        """Put both files, where more than their time has changed, or that is old; whether it did.

        Raises NotPublished.
        """
        if self._last is not None:
            same = msgspec.structs.replace(board, made_ms=self._last.made_ms) == self._last
            if same and board.made_ms - self._last.made_ms < AGAIN_MS:
                return False
        for name, (kind, text) in files(board).items():
            self._put(f"/{self._bucket}/{FOLDER}/{name}", kind, text)
        self._last = board
        return True

    def _put(self, path: str, kind: str, body: bytes) -> None:
        headers = {
            "Content-Type": kind,
            "Cache-Control": f"public, max-age={FRESH_S}",
            "X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest(),
        }
        try:
            answered = self._s3.send("PUT", path, headers, body)
        except Unheard as unheard:
            raise NotPublished(str(unheard)) from unheard
        if answered.status != 200:
            raise NotPublished(str(answered.status))


def files(board: Board) -> Mapping[str, tuple[str, bytes]]:
    """By name: the content type, and the content. They link to one another and to nothing else."""
    return {
        "status.json": ("application/json", msgspec.json.encode(board)),
        "index.html": ("text/html; charset=utf-8", page(board, json="status.json").encode()),
    }
