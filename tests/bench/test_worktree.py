"""A commit's files beside the present ones, and the gateway in them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import worktree
from bench.worktree import NoTree

ROOT = Path(__file__).parents[2]


def git(at: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(at), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, tagged `first` and `second`; the file says which."""
    at = tmp_path / "repository"
    at.mkdir()
    git(at, "init", "--quiet")
    for name in ("first", "second"):
        (at / "file").write_text(name)
        git(at, "add", "file")
        git(at, "commit", "--quiet", "--message", name)
        git(at, "tag", name)
    return at


def listed(repository: Path) -> int:
    """How many worktrees git knows, the repository itself counted."""
    return len(git(repository, "worktree", "list").splitlines())


def test_a_commit_is_found_by_its_id_a_tag_or_a_relation(repository: Path) -> None:
    first = git(repository, "rev-parse", "first")
    for name in (first, first[:8], "first", "HEAD~1"):
        assert worktree.commit(name, repository=repository) == first


@pytest.mark.parametrize("name", ["nosuch", "f" * 40, "HEAD:file", "--all", ""])
def test_what_is_no_commit_is_named_in_one_sentence(repository: Path, name: str) -> None:
    with pytest.raises(NoTree, match=r"^there is no commit .* in this repository$"):
        worktree.commit(name, repository=repository)


def test_a_tree_has_the_commits_files_and_goes_again(repository: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    first = worktree.commit("first", repository=repository)
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").read_text() == "first"
        assert (repository / "file").read_text() == "second"
    assert not place.exists()
    assert listed(repository) == 1


def test_a_tree_that_an_interrupted_run_left_is_used(repository: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    git(repository, "worktree", "add", "--detach", str(place), "first")
    (place / "__pycache__").mkdir()
    made = (place / "file").stat().st_ino
    first = worktree.commit("first", repository=repository)
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").stat().st_ino == made
    assert listed(repository) == 1


def test_a_tree_of_another_commit_or_with_changes_is_made_anew(repository: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    first = worktree.commit("first", repository=repository)
    git(repository, "worktree", "add", "--detach", str(place), "second")
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").read_text() == "first"
    git(repository, "worktree", "add", "--detach", str(place), "first")
    (place / "file").write_text("changed")
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").read_text() == "first"


def test_a_tree_that_somebody_removed_or_that_git_forgot_is_made_anew(repository: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    first = worktree.commit("first", repository=repository)
    git(repository, "worktree", "add", "--detach", str(place), "first")
    shutil.rmtree(place)
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").read_text() == "first"
    git(repository, "worktree", "add", "--detach", str(place), "first")
    shutil.rmtree(repository / ".git" / "worktrees")
    with worktree.tree(first, repository=repository, place=place) as tree:
        assert (tree / "file").read_text() == "first"
    assert not place.exists()
    assert listed(repository) == 1


def test_the_files_say_their_commit_and_whether_they_have_changed(repository: Path) -> None:
    second = git(repository, "rev-parse", "--short", "second")
    assert worktree.head(repository) == second
    (repository / "file").write_text("changed")
    assert worktree.head(repository) == f"{second} with changes"


@pytest.mark.parametrize("room", ["api", "http", "somewhere/else"])
def test_the_bridge_is_found_in_whichever_room_it_is(tmp_path: Path, room: str) -> None:
    bridge = tmp_path / "chalicelib" / room / "bridge.py"
    bridge.parent.mkdir(parents=True)
    bridge.write_text('"""The ASGI bridge."""\n\n\nasync def application(scope, receive, send): ...\n')
    namesake = tmp_path / "chalicelib" / "bridge.py"
    namesake.write_text("# no application of its own\n")
    assert worktree.bridge(tmp_path) == f"chalicelib.{room.replace('/', '.')}.bridge"


def test_a_tree_is_served_as_it_serves_itself(tmp_path: Path) -> None:
    assert worktree.serving(ROOT, 8080)[:2] == ("-m", "chalicelib.http.server")
    bridge = tmp_path / "chalicelib" / "http" / "bridge.py"
    bridge.parent.mkdir(parents=True)
    bridge.write_text("async def application(scope, receive, send): ...\n")
    assert worktree.serving(tmp_path, 8080)[:3] == ("-m", "uvicorn", "chalicelib.http.bridge:application")


def test_a_tree_without_a_bridge_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NoTree, match="application"):
        worktree.bridge(tmp_path)
