"""A bound that a request is over."""


class Exceeded(Exception):
    """`text` says what is bounded, by how much, and what to do. Of the request it quotes `member`, a name."""

    def __init__(self, member: str, text: str) -> None:
        super().__init__(text)
        self.member = member
        self.text = text
