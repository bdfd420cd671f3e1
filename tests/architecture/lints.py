"""The lints: pure functions from sources to offenders. An offender is a line to jump to: `path:line: what is wrong`."""

import ast
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

MOST_METHODS = 5
MOST_LINES = 400
MOCKS = ("unittest.mock", "mock", "pytest_mock")
_WORD = re.compile(r"\w+")
_GAP = re.compile(r" {2,}")
_NAMES = re.compile(r"[a-z_]\w*(?:\.py|/)?(?:, [a-z_]\w*(?:\.py|/)?)*")
WRITTEN = {".py", ".json", ".yaml", ".yml", ".sh", ".md"}


class Import(NamedTuple):
    line: int
    name: str  # dotted, whole


class Source:
    """One file, by its path from the root. Python is parsed once, when a lint first asks."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.parts = PurePosixPath(path).with_suffix("").parts
        self.name = PurePosixPath(path).name

    @property
    def room(self) -> str:
        return self.parts[1] if len(self.parts) > 1 else self.parts[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[Import]:
        return [Import(each.lineno, name) for each in _statements(self.tree) for name in self._imported(each)]

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def at(self, line: int, wrong: str) -> str:
        return f"{self.path}:{line}: {wrong}"

    def _imported(self, statement: ast.stmt) -> Iterator[str]:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            above = self.parts[: -statement.level] if statement.level else ()
            module = ".".join([*above, *([statement.module] if statement.module else [])])
            yield module
            if "." not in module:  # of a whole package each name may be a room: `from chalicelib import wiring`
                yield from (f"{module}.{alias.name}" for alias in statement.names)


def written(root: Path) -> list[Source]:
    """Every text that is ours: what git tracks, and what it would if it were added; not what was deleted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ours = [root / name for name in sorted(set(filter(None, listed.split("\0"))))]
    return [
        Source(path.relative_to(root).as_posix(), path.read_text())
        for path in ours
        if path.suffix in WRITTEN and path.is_file() and not path.is_symlink()
    ]


def python(sources: Iterable[Source]) -> list[Source]:
    return [source for source in sources if source.name.endswith(".py")]


def under(sources: Iterable[Source], *tops: str) -> list[Source]:
    """Those in these folders of the root, and its files of these names."""
    return [source for source in sources if source.parts[0] in tops]


def arrows(sources: Iterable[Source], allowed: Mapping[str, Collection[str]], leaves: Collection[str]) -> Iterator[str]:
    """Rooms import the rooms that they may, themselves and leaves. The package's own page may import any."""
    for source in sources:
        for line, name in source.imports:
            top, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if top != "chalicelib" or not room or source.room in ("__init__", room) or room in leaves:
                continue
            if room not in allowed.get(source.room, ()):
                yield source.at(line, f"{source.room} imports {name}")


def outsiders(sources: Iterable[Source], allowed: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Each package of others' is imported by the files whose paths it is named for, and by no other."""
    for source in sources:
        for line, name in source.imports:
            outsider = name.partition(".")[0]
            if outsider in allowed and source.path not in allowed[outsider]:
                yield source.at(line, f"imports {name}")


def strangers(sources: Iterable[Source], ours: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Of what is ours, these sources import what is known, or lies in it, and nothing else."""
    for source in sources:
        for line, name in source.imports:
            if name.partition(".")[0] in ours and not any(f"{name}.".startswith(f"{each}.") for each in known):
                yield source.at(line, f"imports {name}")


def unmapped(sources: Collection[Source]) -> Iterator[str]:
    """The page of a package names each of its modules, and none that there is not."""
    packages = {source.parts[:-1]: source for source in sources if source.parts[-1] == "__init__"}
    for parts, page in packages.items():
        said = ast.get_docstring(page.tree, clean=False) or ""
        held = {source.parts[-1] for source in sources if source.parts[:-1] == parts} - {"__init__", "__main__"}
        held |= {inner[-1] for inner in packages if inner[:-1] == parts}
        for name in sorted(held - set(_WORD.findall(said))):
            yield page.at(1, f"does not say what {name} is")
        for name in sorted(set(_mapped(said)) - held - {"__main__"}):
            yield page.at(1, f"says what {name} is, which is not there")


def _mapped(page: str) -> Iterator[str]:
    """What the entries of a map name: `name, other   what they are   another   what it is`, indented."""
    for line in page.splitlines():
        columns = _GAP.split(line.strip()) if line.startswith("    ") else []
        for entry in columns[::2] if len(columns) > 1 else ():
            if _NAMES.fullmatch(entry):
                yield from (name.removesuffix(".py").removesuffix("/") for name in entry.split(", "))


def impurities(sources: Iterable[Source], impure: Collection[str]) -> Iterator[str]:
    """Rules read no clock, no environment and no randomness: neither as a module nor as a name such as datetime.now."""
    for source in sources:
        for line, name in source.imports:
            if name.partition(".")[0] in impure:
                yield source.at(line, f"imports {name}")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in impure:
                yield source.at(node.lineno, f"uses {ast.unparse(node)}")


def names(sources: Iterable[Source], banned: Collection[str]) -> Iterator[str]:
    for source in sources:
        for part in source.parts:
            if part in banned:
                yield source.at(1, f"nothing is called {part}")


def sizes(sources: Iterable[Source], most: int = MOST_LINES) -> Iterator[str]:
    for source in sources:
        if source.lines > most:
            yield source.at(source.lines, f"more than {most} lines")


def shadows(sources: Iterable[Source]) -> Iterator[str]:
    """A module in `sagemaker/` itself, or a `tests/sagemaker/`, would be found in place of the SDK of that name."""
    for source in sources:
        if (len(source.parts) == 2 and source.parts[0] == "sagemaker") or source.parts[:2] == ("tests", "sagemaker"):
            yield source.at(1, "shadows the SDK sagemaker")


def entangled(programs: Iterable[Source]) -> Iterator[str]:
    """What is no gateway agrees with it through wires only."""
    for source in programs:
        for line, name in source.imports:
            if name.partition(".")[0] == "chalicelib":
                yield source.at(line, f"imports {name}")


def large_protocols(sources: Iterable[Source], most: int = MOST_METHODS) -> Iterator[str]:
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and any(_is_protocol(base) for base in node.bases):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
                if len(methods) > most:
                    yield source.at(node.lineno, f"{node.name} has {len(methods)} methods; {most} are enough")


def partitions(sources: Iterable[Source]) -> Iterator[str]:
    """No ARN outside tests says in which partition it is."""
    literal = "arn:" + "aws:"
    for source in sources:
        if source.parts[0] == "tests":
            continue
        for line, text in enumerate(source.text.splitlines(), 1):
            if literal in text:
                yield source.at(line, f"holds {literal}")


def mocks(tests: Iterable[Source]) -> Iterator[str]:
    for source in (source for source in tests if "mock" in source.text):  # to parse them all takes seconds
        for line, name in source.imports:
            if name.startswith(MOCKS):
                yield source.at(line, f"imports {name}")


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All, however deep: `ast.walk` without the expressions, which are most of a tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _statements(child)


def _is_protocol(base: ast.expr) -> bool:
    if isinstance(base, ast.Subscript):  # Protocol[T]
        base = base.value
    return ast.unparse(base).rpartition(".")[2] == "Protocol"
