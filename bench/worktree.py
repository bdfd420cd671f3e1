"""The tree of another commit, as a git worktree under `.bench/`, and where its gateway is in it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import environments

_APPLICATION = re.compile(r"^(async def |def )?application\b", re.MULTILINE)


class NoTree(Exception):
    """There is no such commit, or no gateway in it; the text says which."""


def commit(name: str, *, repository: Path) -> str:
    """The full id of what is called so: a commit, a branch, a tag. Raises: NoTree."""
    asked = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if asked.returncode:
        raise NoTree(f"there is no commit {name!r} in this repository")
    return asked.stdout.strip()


@contextmanager
def tree(of: str, *, repository: Path, place: Path) -> Iterator[Path]:
    """That commit's files at `place`: made, or found there as an interrupted run left them; taken away at the end.

    Raises: NoTree.
    """
    if not _is_at(place, of):
        _take_away(place, repository)
        # By force: git still lists a worktree whose folder somebody removed.
        made = _git(repository, "worktree", "add", "--force", "--detach", str(place), of)
        if made.returncode:
            raise NoTree(f"git could not make a worktree of {of}: {made.stderr.strip()}")
    try:
        yield place
    finally:
        _take_away(place, repository)


@contextmanager
def beside(name: str) -> Iterator[tuple[str, Path]]:
    """The full id of the commit of this repository that is called so, and its files in the one place for them.

    Raises: NoTree.
    """
    of = commit(name, repository=environments.ROOT)
    with tree(of, repository=environments.ROOT, place=environments.PLACE / "before") as files:
        yield of, files


def head(repository: Path) -> str:
    """What the files of the repository are: the short id of its commit, and whether they have changed since."""
    at = _git(repository, "rev-parse", "--short", "HEAD").stdout.strip()
    return f"{at} with changes" if _git(repository, "status", "--porcelain").stdout else at


def serving(tree: Path, port: int) -> tuple[str, ...]:
    """What Python is told, to serve the gateway of the tree at the port. Raises: NoTree."""
    where = ("--host", "127.0.0.1", "--port", str(port))
    if (tree / "chalicelib" / "http" / "server.py").exists():
        return ("-m", "chalicelib.http.server", *where)
    # As stream.sh had it then; and who waits for the other's turn must not lose the connection.
    options = ("--timeout-keep-alive", "60", "--no-access-log", "--log-level", "warning")
    return ("-m", "uvicorn", f"{bridge(tree)}:application", *where, *options)


def bridge(tree: Path) -> str:
    """The module of the ASGI bridge of a tree without a server of its own, whichever room it is in. Raises: NoTree."""
    found = [path for path in (tree / "chalicelib").rglob("bridge.py") if _APPLICATION.search(path.read_text())]
    if len(found) != 1:
        raise NoTree(f"one bridge.py in {tree}/chalicelib must have an `application` to start; {len(found)} have")
    return ".".join(found[0].relative_to(tree).with_suffix("").parts)


def _is_at(place: Path, wanted: str) -> bool:
    """Whether it is a worktree of that commit, with nothing changed."""
    if not (place / ".git").is_file():
        return False
    head, changes = _git(place, "rev-parse", "HEAD"), _git(place, "status", "--porcelain")
    return head.returncode == 0 and head.stdout.strip() == wanted and changes.stdout == ""


def _take_away(place: Path, repository: Path) -> None:
    _git(repository, "worktree", "remove", "--force", str(place))
    if place.exists():  # no worktree, or one that git does not know any more
        shutil.rmtree(place)


def _git(at: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(at), *arguments], capture_output=True, text=True)
