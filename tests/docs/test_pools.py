"""docs/pools.md says what pools and targets have, and its recipes answer: read from the page, put, and chatted with."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, get_args
from urllib.parse import urlsplit, urlunsplit

import botocore.session
import msgspec
import pytest
from openai import OpenAI

from chalicelib.pool import Pool, Target
from emulators.sagemaker_runtime.endpoints import Components
from local.bootstrap import BEDROCK_SECRET, pools
from local.layout import COMPONENTS, DEMO_MODEL
from tests.docs import wires
from tests.e2e.admin import admin, entries, new_tenant
from tests.engines.servers import serving
from tests.images.houses import process
from tests.images.llama_process import llama
from tests.local_system import ROOT, RunningSystem
from tests.patience import PATIENCE_S, until

PAGE = (ROOT / "docs" / "pools.md").read_text()
GGUF = DEMO_MODEL / "cloister-demo.gguf"
KINDS = get_args(Target)


class Recipe(NamedTuple):
    """What the page has below a heading."""

    commands: str
    pool: dict[str, Any]

    @property
    def target(self) -> dict[str, Any]:
        found: dict[str, Any] = self.pool["targets"][0]
        return found


def recipes() -> dict[str, Recipe]:
    _, *sections = re.split(r"^### ", PAGE.split("## Recipes")[1].split("\n## ")[0], flags=re.MULTILINE)
    found = {}
    for section in sections:
        title, _, text = section.partition("\n")
        commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        (pool,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        found[title] = Recipe("".join(commands), json.loads(pool))
    return found


RECIPES = recipes()
Answering = Callable[[RunningSystem, Recipe], AbstractContextManager[None]]
"""Stands up what the recipe's pool leads to, and writes in the pool what is the reader's own to fill in."""


def _rows(heading: str) -> list[list[str]]:
    (table,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    return [re.split(r" *\| *", line) for line in re.findall(r"^\| *(`.*?) *\|$", table, re.MULTILINE)]


def _default(field: msgspec.structs.FieldInfo) -> str:
    return "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"


def test_every_member_of_a_pool_is_in_the_table_with_its_default() -> None:
    fields = [[f"`{field.name}`", _default(field)] for field in msgspec.structs.fields(Pool)]
    assert [row[:2] for row in _rows("Members of a pool")] == fields


def test_every_member_of_each_kind_of_target_is_in_the_table_with_its_default() -> None:
    of_all = set.intersection(*({field.name for field in msgspec.structs.fields(kind)} for kind in KINDS))
    expected = {
        (f"`{field.name}`", "all" if field.name in of_all else f"`{kind.__struct_config__.tag}`", _default(field))
        for kind in KINDS
        for field in msgspec.structs.fields(kind)
    }
    rows = [tuple(row[:3]) for row in _rows("Members of a target")]
    assert set(rows) == expected
    assert len(rows) == len(expected)


def test_a_tenant_that_gets_a_pool_as_the_page_says_keeps_those_that_it_has() -> None:
    (kept,) = re.findall(r"""-d '\{"pools":(\[.*?\])\}'""", PAGE)
    urls: dict[str, str | None] = dict.fromkeys(("demo", "embed"), "http://127.0.0.1:1")
    has = [pool.name for pool in pools({COMPONENTS: Components(urls)})]
    assert json.loads(kept) == [*has, "vllm-chat"]


def test_what_a_kind_cannot_be_without_is_called_needed() -> None:
    needed = {(row[0], row[1]) for row in _rows("Members of a target") if "needed" in row[4]}
    assert needed == {(f"`{member}`", f"`{tag}`") for tag, member in map(_needed, KINDS) if member}


def _needed(kind: Any) -> tuple[str, str]:
    """The kind, and the member that its refusal of a bare target asks for first."""
    try:
        kind("bare")
    except ValueError as refused:
        return kind.__struct_config__.tag, re.findall(r"`(\w+)`", str(refused))[0]
    return kind.__struct_config__.tag, ""


def of(kind: wires.Kind) -> Answering:
    """A server of somebody else's, which may want a key: then the page's command makes the secret."""

    @contextmanager
    def answering(system: RunningSystem, recipe: Recipe) -> Iterator[None]:
        with serving(wires.server(kind)) as server:
            if kind.key:
                _make_secret(system, recipe, kind.key)
            _lead_to(recipe, server.root)
            yield

    return answering


@contextmanager
def llamacpp(_: RunningSystem, recipe: Recipe) -> Iterator[None]:
    with llama(GGUF, "chat") as client:
        _lead_to(recipe, str(client.base_url))
        yield


@contextmanager
def container(_: RunningSystem, recipe: Recipe) -> Iterator[None]:
    setting, python, _m, program, *words = shlex.split(recipe.commands)
    assert (setting, python, program) == ("PYTHONPATH=sagemaker", "python", "serving")
    given = dict(zip(words[::2], words[1::2], strict=True))
    own = {"--model": given["--model"].replace("/models/mine.gguf", str(GGUF)), "--host": "127.0.0.1", "--port": "0"}
    with process(*(word for pair in (given | own).items() for word in pair)) as each:
        _lead_to(recipe, f"http://127.0.0.1:{each.ready().port}")
        yield


@contextmanager
def local_cloud(_system: RunningSystem, _recipe: Recipe) -> Iterator[None]:
    yield


@contextmanager
def local_bedrock(_: RunningSystem, recipe: Recipe) -> Iterator[None]:
    assert f'`"secret": "{BEDROCK_SECRET}"`' in PAGE
    recipe.target["secret"] = BEDROCK_SECRET
    yield


ANSWERING: dict[str, Answering] = {
    "vLLM": of(wires.VLLM),
    "TGI": of(wires.TGI),
    "llama.cpp": llamacpp,
    "Ollama": of(wires.OLLAMA),
    "OpenAI": of(wires.OPENAI),
    "OpenRouter": of(wires.OPENROUTER),
    "SageMaker, an inference component": local_cloud,
    "SageMaker, a multi-model endpoint": local_cloud,
    "Bedrock": local_bedrock,
    "The container, with a GGUF of your own": container,
}
QUESTION: Any = [{"role": "user", "content": "What is Cloister?"}]


def test_every_recipe_is_tried() -> None:
    assert list(RECIPES) == list(ANSWERING)


@pytest.mark.parametrize("title", ANSWERING)
def test_a_recipe_answers_as_it_stands_on_the_page(running_system: RunningSystem, title: str) -> None:
    recipe = recipes()[title]
    name = recipe.pool["name"]
    with ANSWERING[title](running_system, recipe):
        admin(running_system, "PUT", f"/pools/{name}", recipe.pool)
        try:
            key = new_tenant(running_system, f"of-{name}", pools=[name])
            _await_health(running_system, recipe)
            client = OpenAI(
                base_url=f"{running_system.base_url}/tenants/of-{name}/v1",
                api_key=key,
                timeout=PATIENCE_S,
                max_retries=0,
            )
            whole = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=24)
            assert whole.choices[0].message.content and whole.usage and whole.model == name
            stream = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=24, stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            assert said
            charged = [entry["charged"]["tokens"] for entry in entries(running_system, f"of-{name}", key)]
            assert whole.usage.total_tokens in charged and len(charged) == 2 and min(charged) > 1
        finally:
            admin(running_system, "DELETE", f"/pools/{name}")


@pytest.mark.parametrize("title", ["vLLM", "Ollama", "OpenAI"])
def test_what_is_the_matter_with_a_recipe_is_told(running_system: RunningSystem, title: str) -> None:
    """A model that the server does not have, a key that it does not take."""
    recipe = recipes()[title]
    name = recipe.pool["name"]
    with ANSWERING[title](running_system, recipe):
        recipe.target["model"] = "none-of-theirs"
        admin(running_system, "PUT", f"/pools/{name}", recipe.pool)
        try:
            key = new_tenant(running_system, f"not-{name}", pools=[name])
            client = OpenAI(base_url=f"{running_system.base_url}/tenants/not-{name}/v1", api_key=key, max_retries=0)
            with pytest.raises(Exception, match="no healthy target"):
                client.chat.completions.create(model=name, messages=QUESTION, max_tokens=24)
            [target] = _await_health(running_system, recipe)  # it answers, and health asks no more
            word = {"vLLM": "NotFoundError", "Ollama": "not_found_error", "OpenAI": "model_not_found"}[title]
            assert target["last_failure"]["symptom"] == f"http 404 {word}"
        finally:
            admin(running_system, "DELETE", f"/pools/{name}")


def _await_health(system: RunningSystem, recipe: Recipe) -> list[dict[str, Any]]:
    """A machine that is busy may need more than a probe's deadline for the first one."""
    found: list[dict[str, Any]] = until(
        lambda: admin(system, "GET", f"/pools/{recipe.pool['name']}")["targets"],
        lambda targets: all(target["healthy"] is not False for target in targets),
    )
    return found


def _lead_to(recipe: Recipe, root: str) -> None:
    """The page's address, but for the machine's name and port."""
    there, here = urlsplit(recipe.target["url"]), urlsplit(root)
    recipe.target["url"] = urlunsplit(there._replace(scheme=here.scheme, netloc=here.netloc))


def _make_secret(system: RunningSystem, recipe: Recipe, key: str) -> None:
    (name,) = re.findall(r"--name (\S+) --secret-string file://key\.txt", recipe.commands)
    assert name == recipe.target["secret"]
    client = botocore.session.get_session().create_client(
        "secretsmanager",
        region_name=system.env["AWS_REGION"],
        endpoint_url=system.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=system.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )
    with suppress(client.exceptions.ResourceExistsException):  # of a test before
        client.create_secret(Name=name, SecretString=key)
