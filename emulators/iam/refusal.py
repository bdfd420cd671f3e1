"""Why a signed request does not come in."""


class AccessDenied(Exception):
    """The request may not come in. `text` is what AWS tells the caller."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class WrongService(AccessDenied):
    """It was signed for another service than the API's."""

    def __init__(self, text: str, service: str) -> None:
        super().__init__(text)
        self.service = service


class NoJudge(Exception):
    """Nobody is there to say whether the request may come in."""
