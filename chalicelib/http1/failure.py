"""Every way a call over HTTP goes wrong.

Failed
  Unreachable   there is no connection: no such name, nobody there, nobody to trust there, not in time
  Silent        nothing came for as long as somebody was willing to wait
  BrokeOff      the connection ended before the answer did
  NotHttp       what came is no answer, or is more than is read of one
"""

import errno
import socket
import ssl


class Failed(Exception):
    """`symptom`: what was met on the way, as a code: the system's, OpenSSL's, or words of ours. Never others' text."""

    def __init__(self, symptom: str) -> None:
        super().__init__(symptom)
        self.symptom = symptom


class Unreachable(Failed):
    pass


class Silent(Failed):
    pass


class BrokeOff(Failed):
    pass


class NotHttp(Failed):
    pass


def symptom_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"tls {error.reason}"
    if isinstance(error, socket.gaierror):
        return "name not resolved"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
