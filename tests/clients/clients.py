"""The clients, each with the errors that are its own, and how their programs are run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic
from typing import Any, NamedTuple

from tests import npm
from tests.clients import environments
from tests.patience import PATIENCE_S

HERE = Path(__file__).parent
PYTHON, NODE = HERE / "python", HERE / "node"
QUESTION = "What is Cloister?"


class Raised(NamedTuple):
    """What a program sees of an error."""

    type: str
    status: int
    code: str


class Errors(NamedTuple):
    """What is raised for a key, a model, a rate and a budget."""

    wrong_key: Raised
    wrong_model: Raised
    rate_reached: Raised
    budget_spent: Raised


OPENAI = Errors(
    Raised("AuthenticationError", 401, "invalid_api_key"),
    Raised("NotFoundError", 404, "not_found"),
    Raised("RateLimitError", 429, "rate_limit_exceeded"),
    Raised("RateLimitError", 429, "insufficient_quota"),
)
ANTHROPIC = Errors(
    Raised("AuthenticationError", 401, "authentication_error"),
    Raised("NotFoundError", 404, "not_found_error"),
    Raised("RateLimitError", 429, "rate_limit_error"),
    Raised("PaymentRequiredError", 402, "billing_error"),
)


def of_types(errors: Errors, *types: str) -> Errors:
    """The same, where a package has classes of its own for them."""
    return Errors(*(each._replace(type=name) for each, name in zip(errors, types, strict=True)))


LANGCHAIN_OPENAI = of_types(
    OPENAI, "OpenAIAuthenticationError", "OpenAIModelNotFoundError", "OpenAIRateLimitError", "OpenAIRateLimitError"
)
LANGCHAIN_ANTHROPIC = of_types(
    ANTHROPIC,
    *("AnthropicAuthenticationError", "AnthropicModelNotFoundError", "AnthropicRateLimitError", "PaymentRequiredError"),
)
INSTRUCTOR = of_types(OPENAI, *4 * ["InstructorRetryException"])
AI_SDK = of_types(OPENAI, *4 * ["AI_APICallError"])


class Client(NamedTuple):
    """One package's way in."""

    name: str
    program: str
    errors: Errors
    door: str = ""
    packages: str = ""  # a lock file in python/requirements; else it runs with ours


CLIENTS = (
    Client("openai-python-chat", "openai_chats.py", OPENAI),
    Client("openai-python-responses", "openai_responses.py", OPENAI),
    Client("openai-node-chat", "openai_chats.mjs", OPENAI),
    Client("openai-node-responses", "openai_responses.mjs", OPENAI),
    Client("anthropic-python", "anthropic_messages.py", ANTHROPIC),
    Client("anthropic-node", "anthropic_messages.mjs", ANTHROPIC),
    Client("langchain-openai-chat", "langchain_models.py", LANGCHAIN_OPENAI, "chat", "langchain.txt"),
    Client("langchain-openai-responses", "langchain_models.py", LANGCHAIN_OPENAI, "responses", "langchain.txt"),
    Client("langchain-anthropic", "langchain_models.py", LANGCHAIN_ANTHROPIC, "messages", "langchain.txt"),
    Client("llamaindex", "llamaindex_agent.py", OPENAI, packages="llamaindex.txt"),
    Client("ai-sdk-openai-compatible", "ai_sdk.mjs", AI_SDK, "chat"),
    Client("ai-sdk-openai", "ai_sdk.mjs", AI_SDK, "responses"),
    Client("agents-sdk-responses", "agents_sdk.py", OPENAI, "responses", "agents.txt"),
    Client("agents-sdk-chat", "agents_sdk.py", OPENAI, "chat", "agents.txt"),
)
FORMS = (
    Client("instructor-tools", "instructor_forms.py", INSTRUCTOR, "tools", "instructor.txt"),
    Client("instructor-schema", "instructor_forms.py", INSTRUCTOR, "schema", "instructor.txt"),
)


class Program:
    """A client's program, running."""

    def __init__(self, client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.client = client
        self._process, self._log = process, log

    def ask(self, function: str, url: str, api_key: str, model: str, question: str = QUESTION) -> dict[str, Any]:
        assert self._process.stdin is not None
        asked = {"function": function, "url": url, "api_key": api_key, "model": model, "question": question}
        line = json.dumps({**asked, "most_tokens": 32, "door": self.client.door}) + "\n"
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._line())
        return said

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        descriptor, until, line = self._process.stdout.fileno(), monotonic() + PATIENCE_S, b""
        while not line.endswith(b"\n"):
            readable, _, _ = select([descriptor], [], [], max(0.0, until - monotonic()))
            piece = os.read(descriptor, 65_536) if readable else b""
            assert piece, f"{self.client.program} does not answer; it said:\n{self._log.read_text()}"
            line += piece
        return line


@contextmanager
def running(client: Client, folder: Path) -> Iterator[Program]:
    """`folder` is for what the program needs around it."""
    log = folder / "log"
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command(client, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environ
        ) as process,
    ):
        try:
            yield Program(client, process, log)
        finally:
            process.kill()


def command(client: Client, folder: Path) -> list[str]:
    if client.program.endswith(".py"):
        python = (
            environments.python_of(PYTHON / "requirements" / client.packages) if client.packages else sys.executable
        )
        return [str(python), str(PYTHON / client.program)]
    # Node looks for packages above the file that imports them.
    (folder / "node_modules").symlink_to(npm.installed(NODE) / "node_modules")
    for program in NODE.glob("*.mjs"):
        shutil.copy(program, folder)
    return ["node", str(folder / client.program)]
