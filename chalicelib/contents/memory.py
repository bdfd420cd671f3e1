"""Contents and their keys in memory: twins of DynamoDB and KMS, for tests and for trying things out."""

from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.contents.data_keys import KEY_BYTES, NoKey, Wrapped, blob_of, context_of, text_of
from chalicelib.contents.pieces import NONCE_BYTES, Piece, Taken
from chalicelib.randomness import Randomness


class MemoryPieces:
    """Implements Pieces."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], Piece] = {}
        self._lock = Lock()

    def claim(self, head: Piece, now_s: int) -> None:
        with self._lock:
            held = self._held.get(_place(head))
            if held is not None and held.expires_s > now_s:
                raise Taken
            self._held[_place(head)] = head

    def put(self, piece: Piece) -> None:
        with self._lock:
            self._held[_place(piece)] = piece

    def of(self, tenant: str, content: str) -> list[Piece]:
        with self._lock:
            return [piece for place, piece in sorted(self._held.items()) if place[:2] == (tenant, content)]

    def delete(self, piece: Piece) -> None:
        with self._lock:
            self._held.pop(_place(piece), None)


class MemoryKeys:
    """Implements KeyService, by a key that it makes itself."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._cipher = AESGCM(randomness(KEY_BYTES))

    def make(self, tenant: str) -> tuple[bytes, Wrapped]:
        key, nonce = self._randomness(KEY_BYTES), self._randomness(NONCE_BYTES)
        return key, Wrapped("memory", text_of(nonce + self._cipher.encrypt(nonce, key, _bound(tenant))))

    def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        blob = blob_of(wrapped.text)
        try:
            return self._cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _bound(tenant))
        except InvalidTag:
            raise NoKey("The key is not the tenant's.") from None


def _place(piece: Piece) -> tuple[str, str, str]:
    return piece.tenant, piece.content, piece.name


def _bound(tenant: str) -> bytes:
    return "\0".join(context_of(tenant).values()).encode()
