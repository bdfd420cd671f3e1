"""Every way the enclave says no, with the code that stands in the frame REFUSED. The texts are public; `why` is for
the enclave's own log, and names a cause without quoting anything.

    Refusal
    |-- NotOpened        one text whatever is wrong: ticket, key, ciphertext, context, or opened before
    |-- TooLarge         the sealed request is beyond its mode
    |-- AnswerTooLarge   the answer is beyond mode kms
    |-- Unavailable      this enclave cannot, for now
    `-- ProtocolBroken   the other side does not keep to the channel's rules: the connection ends
"""

from typing import ClassVar


class Refusal(Exception):
    code: ClassVar[str]

    def __init__(self, text: str, why: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.why = why


class NotOpened(Refusal):
    code = "not_opened"

    def __init__(self, why: str) -> None:
        super().__init__("It could not be opened with the key registered to this tenant, or was opened before.", why)


class TooLarge(Refusal):
    code = "too_large"


class AnswerTooLarge(Refusal):
    code = "answer_too_large"

    def __init__(self) -> None:
        super().__init__("The answer is longer than mode kms can seal: ask for fewer tokens, or use esdk or hpke.")


class Unavailable(Refusal):
    code = "unavailable"


class ProtocolBroken(Refusal):
    code = "protocol"
