"""What the person at the terminal sees of a running system: the banner, one sentence for what goes wrong, Ctrl-C."""

import asyncio
import signal
import sys
from pathlib import Path

from local.port import PortUnusable
from local.state import StateDirectory, Unusable
from local.system import CannotStart, Ready, Stopped, System

__all__ = ["CannotStart", "run"]

DIED = 1

BANNER = """\
Cloister is ready, after {seconds:.1f} s.

  Base URL  {base_url}
  Tenant    {tenant}
  API key   {api_key}
  Person    {person}
  Password  {password}
  Sign in   {base_url}/signin/{tenant}

A request:

  curl {base_url}/tenants/{tenant}/v1/chat/completions -H 'Authorization: Bearer {api_key}' \
-H 'Content-Type: application/json' \
-d '{{"model": "demo", "messages": [{{"role": "user", "content": "What is Cloister?"}}]}}'

The same in Python, with the package openai:

  from openai import OpenAI
  client = OpenAI(base_url="{base_url}/tenants/{tenant}/v1", api_key="{api_key}")
  question = {{"role": "user", "content": "What is Cloister?"}}
  answer = client.chat.completions.create(model="demo", messages=[question])
  print(answer.choices[0].message.content)

For scripts: source {env}    Logs: {logs}    Stop: Ctrl-C
"""


def run(port: int, directory: StateDirectory, screen: int | None) -> int:
    """The exit status: 0 when told to stop, 1 when a process died. Raises CannotStart.

    `screen`: a descriptor that takes a line for each request; None where nobody wants them.
    """
    try:
        with directory as state:
            return asyncio.run(_run(System(port, state, screen), state))
    except (Unusable, PortUnusable) as problem:
        raise CannotStart(str(problem)) from None


async def _run(system: System, state: StateDirectory) -> int:
    living = asyncio.create_task(_live(system, state))

    def stop() -> None:
        # Asked twice, nobody wants to wait.
        if not living.cancel():
            system.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await living
    except asyncio.CancelledError:
        print("Stopping.", flush=True)
        return 0
    except Stopped as stopped:
        print(stopped, "Stopping the system.", file=sys.stderr, flush=True)
        return DIED
    finally:
        await system.stop()
    return 0


async def _live(system: System, state: StateDirectory) -> None:
    print("Starting.", flush=True)
    ready: Ready = await system.start()
    banner = BANNER.format(
        base_url=ready.base_url,
        tenant=ready.tenant,
        api_key=ready.api_key,
        person=ready.person,
        password=ready.password,
        seconds=ready.seconds,
        env=_short(state.env),
        logs=_short(state.logs),
    )
    print(banner, flush=True)
    await system.run()


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
