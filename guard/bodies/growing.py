"""The texts of one answer while they grow, each with a scanner of its own. Sans-IO."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from guard.bodies import TOOL, Growth, Judge, NotAllowed, texts
from guard.bodies.texts import Path
from guard.bodies.wholes import judge_all
from guard.scanner import Refused

_CALLED = tuple((name,) for name in texts.CALLS)


class Piece(NamedTuple):
    """Text that may be sent, and where it belongs."""

    place: Path  # the choice, or the block
    path: Path  # of members below it
    text: str


class Grown(NamedTuple):
    """A text that grew, by what came."""

    place: Path
    path: Path
    text: str


class Stop(Exception):
    """What comes next is refused. `piece` may still be sent."""

    def __init__(self, piece: Piece, refused: NotAllowed) -> None:
        super().__init__(refused.rule)
        self.piece = piece
        self.refused = refused


class Growing:
    """Of one answer. Every text is known by its place and path; each string at the same ones continues it."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge  # of what does not grow
        self._scanners: dict[Path, dict[Path, Growth]] = {}
        self._beside: dict[tuple[str, ...], dict[str, Any]] = {}  # what nothing was found in, by what grows beside it
        self._tools: dict[Path, tuple[str, str]] = {}  # as they are called so far, and as they are shown
        self.deltas = 0  # so many came, for who counts by them
        self.steps: list[Grown | None] = []  # each text that grew, since whoever looks at them cleared them; None: more

    def grow(self, node: dict[str, Any], place: Path) -> None:
        """Put in the place of each text of a delta what may be sent by now. Raises Stop."""

        def visit(path: Path, text: str) -> str:
            if path[-1] == "name" and (path[-2:-1] in _CALLED or path[-3:-2] == ("tool_calls",)):
                self.steps.append(None)
                return self._tool(place, path, text)
            scanners = self._scanners.setdefault(place, {})
            scanner = scanners.get(path)
            if scanner is None:
                scanner = scanners[path] = self._scanner(path)
            self.steps.append(Grown(place, path, text))
            return self._fed(scanner, place, path, text)

        self.judge.leave_out_pieces(node)
        texts.walk(node, visit, self.judge.document)

    def grow_again(self, last: "Grown", text: str) -> str:
        """What may be sent of a text that goes on where that one ended. Raises Stop."""
        return self._fed(self._scanners[last.place][last.path], last.place, last.path, text)

    def finish(self, place: Path) -> Iterator[Piece]:
        """The rests of what grew there: no more comes. Raises Stop."""
        self.steps.append(None)
        for path, scanner in self._scanners.pop(place, {}).items():
            try:
                rest = scanner.finish()
            except Refused as refused:
                raise Stop(Piece(place, path, refused.released), self.judge.refusal(refused.rule)) from None
            finally:
                _count(self.judge.findings, scanner)
            if rest:
                yield Piece(place, path, rest)

    def findings(self) -> Counter[str]:
        """What was found so far, by rule."""
        found = Counter(self.judge.findings)
        for scanners in self._scanners.values():
            for scanner in scanners.values():
                _count(found, scanner)
        return found

    def finish_all(self) -> Iterator[Piece]:
        """See finish."""
        for place in tuple(self._scanners):
            yield from self.finish(place)

    def judge_others(self, node: dict[str, Any], *growing: str) -> None:
        """What stands beside the members that grow, each by itself. Raises NotAllowed."""
        others = {name: value for name, value in node.items() if name not in growing}
        if self._beside.get(growing) == others:  # as in nearly each chunk: the answer's id, its model
            return
        before = self.judge.findings.total()
        judge_all(others, self.judge)
        node.update(others)
        if self.judge.findings.total() == before and not any(isinstance(each, dict | list) for each in others.values()):
            self._beside[growing] = others

    def _fed(self, scanner: Growth, place: Path, path: Path, text: str) -> str:
        try:
            return scanner.feed(text)
        except Refused as refused:
            raise Stop(Piece(place, path, refused.released), self.judge.refusal(refused.rule)) from None

    def _scanner(self, path: Path) -> Growth:
        holds_json = path[-1] in texts.ARGUMENTS or path[-2:] == ("toolUse", "input")
        return self.judge.arguments_scanner() if holds_json else self.judge.scanner()

    def _tool(self, place: Path, path: Path, name: str) -> str:
        """Servers tell a name once, in each chunk again, or in pieces. Raises Stop, NotAllowed."""
        whole, shown = self._tools.get((*place, *path), ("", ""))
        if name == whole:
            return shown
        known, shown, whole = shown, self.judge.text(whole + name), whole + name
        try:
            self.judge.tool(whole)
        except NotAllowed as refused:
            raise Stop(Piece(place, (), ""), refused) from None
        if not shown.startswith(known):
            raise Stop(Piece(place, (), ""), self.judge.refusal(TOOL))
        self._tools[*place, *path] = whole, shown
        return shown.removeprefix(known)


def _count(found: Counter[str], scanner: Growth) -> None:
    for finding in scanner.findings:
        found[finding.rule] += finding.count
