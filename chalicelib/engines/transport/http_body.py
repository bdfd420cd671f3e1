"""The body of a target's HTTP response: read as it arrives by one thread, closed by any."""

import contextlib
import errno
import socket
import ssl
import threading
from http.client import HTTPException
from typing import Any

import urllib3

from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.refusal import EngineFailed, EngineTimedOut, Refusal

READ_BYTES = 64 * 1024
TAIL_DEADLINE_S = 0.2  # for the end of the body behind `[DONE]`, to keep the connection
TAIL_READS = 4  # more than that is no tail


def refusal(error: urllib3.exceptions.HTTPError) -> Refusal:
    """What a failure of the connection means for the caller."""
    symptom = symptom_of(error)
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError):
        return EngineFailed(failures.UNREACHABLE, symptom=symptom, unsent=True)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return EngineTimedOut(failures.SILENT, symptom=symptom)
    return EngineFailed(failures.BROKE_OFF, symptom=symptom)


def symptom_of(error: BaseException) -> str:
    """What was met on the way, as a code: the system's or OpenSSL's, or the exception's class. Never its text."""
    for _ in range(8):  # urllib3 wraps what Python raised, a few times over
        if isinstance(error, ssl.SSLError) and error.reason:
            return f"tls {error.reason}"
        if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
            return errno.errorcode[error.errno]
        if isinstance(error, socket.gaierror):
            return "name not resolved"
        told = [each for each in error.args if isinstance(each, BaseException)]
        inner = told[-1] if told else error.__cause__
        if inner is None:
            break
        error = inner
    return type(error).__name__


class HttpBody:
    """The body of one HTTP response, read by one thread, closed by any."""

    def __init__(self, response: urllib3.BaseHTTPResponse, clock: Clock, until_ms: int) -> None:
        self._response = response
        # Each token comes in a chunk of its own, and urllib3's read1 around http.client's costs a fifth of its CPU.
        self._chunks: Any = getattr(response, "_fp", None) if response.headers.get("Transfer-Encoding") else None
        self._clock = clock
        self._until_ms = until_ms
        self._lock = threading.Lock()
        self._reading = False
        self._finishing = False
        self._closed = False

    source = None  # urllib3 cannot be read without waiting

    def next(self) -> bytes:
        """What has arrived, waiting for something; empty at the end. Raises EngineFailed, EngineTimedOut."""
        with self._lock:
            if self._closed:
                raise EngineFailed(failures.BROKE_OFF)
            self._reading = True
        try:
            if self._clock() > self._until_ms:
                raise EngineTimedOut(failures.SILENT)
            if self._chunks is not None:
                data: bytes = self._chunks.read1(READ_BYTES)
                if data:
                    return data
                self._chunks = None  # the rest is urllib3's: it puts the connection back
            return self._response.read1(READ_BYTES)
        except TimeoutError as error:
            raise EngineTimedOut(failures.SILENT, symptom="TimeoutError") from error
        except urllib3.exceptions.HTTPError as error:
            raise refusal(error) from error
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # A response that another thread cut off may come apart in any of these ways.
            raise EngineFailed(failures.BROKE_OFF, symptom=symptom_of(error)) from error
        finally:
            with self._lock:
                self._reading = False
                if self._closed:
                    self._discard()

    def read(self, limit_bytes: int) -> bytes:
        """All of it. Raises EngineFailed also where it is longer than `limit_bytes`."""
        parts = []
        size = 0
        while part := self.next():
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                raise EngineFailed(failures.TOO_LONG)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """The answer is complete, the body perhaps not: read its end, so that the connection can be used again."""
        with self._lock:
            if self._closed or self._finishing:
                return
            self._finishing = True
        connection = getattr(self._response.connection, "sock", None)
        if connection is not None:
            patience_s = connection.gettimeout()
            with contextlib.suppress(Refusal, OSError):
                connection.settimeout(TAIL_DEADLINE_S)
                for _ in range(TAIL_READS):
                    if not self.next():
                        break
            with contextlib.suppress(OSError):
                connection.settimeout(patience_s)  # the next call may have much to send
        self.close()

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else cut it. Any thread, any number of times."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._reading:
                # Its reader wakes up and discards it: to close a socket under a reader is not safe.
                with contextlib.suppress(OSError, RuntimeError, ValueError):
                    self._response.shutdown()
            else:
                self._discard()

    def _discard(self) -> None:
        # At the end of its body urllib3 has put the connection back by itself and there is nothing to close.
        if self._response.connection is not None:
            with contextlib.suppress(OSError):
                self._response.close()
            self._response.release_conn()
