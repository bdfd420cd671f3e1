"""What the app serves is known in full, and imported as far as it is asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from chalicelib import api
from chalicelib.api.surfaces import MODULES
from chalicelib.http.route_table import ROUTES, RouteTable
from tests.patience import PATIENCE_S
from tests.stores import ROOT

LOADED = "sorted(name for name in sys.modules if name.startswith('chalicelib.api.'))"


def in_a_new_process(code: str) -> Any:
    """What it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nfrom app import app\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert not ran.returncode, ran.stderr
    return json.loads(ran.stdout)


def test_every_module_of_surfaces_is_listed() -> None:
    """One that is not would never be imported, and nothing of it be served."""
    written = {path.stem for path in Path(api.__path__[0]).glob("*.py")} - {"__init__", "surfaces"}
    assert {f"chalicelib.api.{name}" for name in written} == set(MODULES)


def test_the_paths_are_known_before_what_serves_them_is_imported() -> None:
    paths, loaded = in_a_new_process(f"print(json.dumps([sorted(app.paths), {LOADED}]))")
    assert loaded == ["chalicelib.api.surfaces"]
    assert set(paths) == {route.resource for route in ROUTES} == set(app.app.routes)


def test_whoever_lists_sees_every_route() -> None:
    """As `chalice package` does, and what describes the service."""
    for listed in ("[*app.routes]", "app.routes.items()", "app.routes.keys()", "app.routes.values()"):
        assert in_a_new_process(f"print(len({listed}))") == len(app.app.routes)
    assert in_a_new_process("print(len(app.routes) if app.routes else 0)") == len(app.app.routes)
    listed = "from chalicelib.http.route_table import ROUTES\nprint(json.dumps([route.name for route in ROUTES]))"
    assert in_a_new_process(listed) == [route.name for route in ROUTES]


def test_the_order_of_routes_does_not_depend_on_who_was_asked_first() -> None:
    """The document of all routes is the same from each process."""
    opened = "app.methods('/signup'); app.methods('/admin/reviews')\nfrom chalicelib.http.route_table import ROUTES\n"
    assert in_a_new_process(f"{opened}print(json.dumps([route.name for route in ROUTES]))") == [
        route.name for route in ROUTES
    ]


@pytest.mark.parametrize("module", MODULES)
def test_any_surface_can_be_the_first(module: str) -> None:
    """None needs what another has imported before it."""
    path = MODULES[module][0]
    methods, routes = in_a_new_process(
        f"methods = sorted(app.methods({path!r}))\nfrom chalicelib.http.route_table import ROUTES\n"
        f"print(json.dumps([methods, sorted(ROUTES.at({path!r}))]))"
    )
    assert methods and set(methods) == set(app.app.routes[path])
    assert routes == sorted(ROUTES.at(path))


def test_many_who_come_first_at_once_all_find_it_served() -> None:
    """No thread sees a module of which another has imported a part."""
    found = in_a_new_process("""
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
paths = sorted(app.paths)
meet = Barrier(len(paths) * 2)
def methods(path):
    meet.wait()
    return [path, sorted(app.methods(path))]
with ThreadPoolExecutor(len(paths) * 2) as threads:
    print(json.dumps(list(threads.map(methods, paths * 2))))
""")
    assert found == [[path, sorted(app.app.routes[path])] for path in sorted(app.app.paths)] * 2


def test_a_module_that_serves_something_else_than_is_listed_does_not_open() -> None:
    table = RouteTable()
    for route in ROUTES.at("/signup").values():
        table.add(route)
    table.serve({"chalicelib.api.signup": ("/signup", "/sign-up")}, lambda _: None)
    with pytest.raises(RuntimeError, match=r"chalicelib\.api\.signup does not serve .*: /sign-up$"):
        table.open("/signup")
