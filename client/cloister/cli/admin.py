"""`cloister admin`: what an operator does with a gateway, from the terminal: tenants, pools, keys, limits, requests."""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from cloister.cli.operator_gateway import Operator, OperatorSettings, add_flags, document, table
from cloister.clock import now_ms
from cloister.refusal import NotConfigured

Run = Callable[[Operator, argparse.Namespace], Any]
"""Does it, and returns what `--json` prints."""

DAY_S = 86_400
LONGEST_MS = 15 * 60_000
"""An answer streams no longer: what is settled now was admitted since then."""

MOST_PAGES = 20
POLL_S = 2.0
STEPS = ("note", "throttle", "suspend", "take_down", "clear")


def add(commands: Any) -> None:
    """The commands and their flags."""
    shared = argparse.ArgumentParser(add_help=False)
    add_flags(shared)

    def action(actions: Any, name: str, run: Run, show: Callable[[Any], str], meaning: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, parents=[shared], help=meaning)
        parser.set_defaults(run=_printing(run, show))
        return parser

    def group(name: str, meaning: str) -> Any:
        return commands.add_parser(name, help=meaning).add_subparsers(required=True, metavar="ACTION")

    tenants = group("tenants", "who may call")
    action(tenants, "list", _tenants, _tenants_shown, "all of them")
    show = action(tenants, "show", _tenant, _indented, "all that is known of one")
    create = action(tenants, "create", _create_tenant, _indented, "a new one, with the default limits")
    create.add_argument("--name", help="as people call it [the id]")
    create.add_argument("--pool", action="append", default=[], help="that it may use; repeatable")
    change = action(tenants, "change", _change_tenant, _indented, "members of it, as PATCH /admin/tenants takes them")
    suspend = action(tenants, "suspend", _suspend, _indented, "refuse all its requests, from the next one on")
    resume = action(tenants, "resume", _resume, _indented, "and let them in again")
    for parser in (show, create, change, suspend, resume):
        parser.add_argument("tenant")
    change.add_argument("file", help="JSON; `-`: the standard input")

    pools = group("pools", "what models are offered, and where they run")
    action(pools, "list", _pools, _pools_shown, "all of them")
    one = action(pools, "show", _pool, _indented, "one of them")
    put = action(pools, "put", _put_pool, _indented, "create or replace the pool that a file describes")
    put.add_argument("file", help="JSON, as docs/pools.md has it; `-`: the standard input")
    gone = action(pools, "delete", _delete_pool, _done, "remove one")
    for parser in (one, gone):
        parser.add_argument("pool")

    keys = group("keys", "a tenant's API keys")
    listed = action(keys, "list", _keys, _keys_shown, "all of them, without their secrets")
    new = action(keys, "create", _create_key, _key_shown, "a new one; it is printed this once")
    revoke = action(keys, "revoke", _revoke_key, _key_state, "end one, at once and everywhere")
    for parser in (listed, new, revoke):
        parser.add_argument("tenant")
    revoke.add_argument("key", help="its id")
    new.add_argument("--role", default="owner", help="owner, developer, analyst or viewer [owner]")
    new.add_argument("--label", default="", help="what it is for")
    new.add_argument("--pool", action="append", default=[], help="narrow it to this pool; repeatable")
    new.add_argument("--surface", action="append", default=[], help="narrow it to this surface; repeatable")
    new.add_argument("--tool", action="append", default=[], help="narrow it to tools of this name, or glob; repeatable")
    new.add_argument(
        "--route", action="append", default=[], help="narrow it to routes, as `POST /…`, or glob; repeatable"
    )
    new.add_argument(
        "--guardrails", metavar="FILE", help="rules of its own, beside the tenant's; JSON, `-`: standard input"
    )
    new.add_argument("--days", type=int, help="until it expires [never]")

    limits = group("limits", "what a tenant may use")
    left = action(limits, "show", _usage, _usage_shown, "each limit, and what is left of it now")
    replaced = action(limits, "set", _set_limits, _indented, "replace all of them")
    for parser in (left, replaced):
        parser.add_argument("tenant")
    replaced.add_argument("file", help="JSON with rates, budgets and in_flight; `-`: the standard input")

    reviews = group("reviews", "tenants that broke a rule of fair use")
    action(reviews, "list", _reviews, _reviews_shown, "the open ones first")
    take = action(reviews, "take", _take_step, _indented, "a step: note, throttle, suspend, take_down or clear")
    take.add_argument("step", choices=STEPS)
    take.add_argument("tenant")
    take.add_argument("review", help="its id")
    take.add_argument("reason", help="which stands in the events, and the tenant's owners read it")

    action(commands, "health", _health, _indented, "what can be run, as of the last minute")

    requests = commands.add_parser("requests", parents=[shared], help="a tenant's last requests, oldest first")
    requests.add_argument("tenant")
    requests.add_argument("--last", type=int, default=20, metavar="N", help="how many, 100 at most [20]")
    requests.add_argument("--follow", action="store_true", help="and those that come, until Ctrl-C")
    requests.set_defaults(run=_tail)


def _printing(run: Run, show: Callable[[Any], str]) -> Callable[[OperatorSettings, argparse.Namespace], int]:
    def printed(settings: OperatorSettings, options: argparse.Namespace) -> int:
        found = run(Operator(settings), options)
        print(json.dumps(found) if options.json else show(found))
        return 0

    return printed


def _tenants(operator: Operator, _: argparse.Namespace) -> Any:
    return operator.get("tenants")["tenants"]


def _tenants_shown(tenants: Any) -> str:
    rows = ((each["id"], each["name"], each["status"], ", ".join(each["pools"])) for each in tenants)
    return table(rows, "TENANT", "NAME", "STATUS", "POOLS")


def _tenant(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.get("tenants", options.tenant)


def _create_tenant(operator: Operator, options: argparse.Namespace) -> Any:
    wanted = {"id": options.tenant, "name": options.name or options.tenant, "pools": options.pool}
    return operator.send("POST", "tenants", body=wanted)


def _change_tenant(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.send("PATCH", "tenants", options.tenant, body=document(options.file))


def _suspend(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.send("PATCH", "tenants", options.tenant, body={"status": "suspended"})


def _resume(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.send("PATCH", "tenants", options.tenant, body={"status": "active"})


def _pools(operator: Operator, _: argparse.Namespace) -> Any:
    return operator.get("pools")["pools"]


def _pools_shown(pools: Any) -> str:
    def targets(pool: Any) -> str:
        return ", ".join(f"{target['name']} ({target['engine']})" for target in pool["targets"])

    rows = ((each["name"], ", ".join(each["operations"]), targets(each)) for each in pools)
    return table(rows, "POOL", "OPERATIONS", "TARGETS")


def _pool(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.get("pools", options.pool)


def _put_pool(operator: Operator, options: argparse.Namespace) -> Any:
    pool = document(options.file)
    if not isinstance(pool, dict) or not isinstance(pool.get("name"), str) or not pool["name"]:
        raise NotConfigured(f"{options.file} describes no pool: it has no `name`.")
    return operator.send("PUT", "pools", pool["name"], body=pool)


def _delete_pool(operator: Operator, options: argparse.Namespace) -> Any:
    operator.send("DELETE", "pools", options.pool)


def _keys(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.get("tenants", options.tenant, "keys")["keys"]


def _keys_shown(keys: Any) -> str:
    rows = ((each["id"], each["role"], each["state"], _day(each["created_ms"]), each["label"]) for each in keys)
    return table(rows, "KEY", "ROLE", "STATE", "SINCE", "LABEL")


def _create_key(operator: Operator, options: argparse.Namespace) -> Any:
    wanted = {
        "role": options.role,
        "label": options.label,
        "scopes": {
            "pools": options.pool,
            "surfaces": options.surface,
            # Which gateways of before do not know.
            **({"tools": options.tool} if options.tool else {}),
            **({"routes": options.route} if options.route else {}),
        },
        **({} if options.guardrails is None else {"guardrails": document(options.guardrails)}),
        **({} if options.days is None else {"expires_in_s": options.days * DAY_S}),
    }
    return operator.send("POST", "tenants", options.tenant, "keys", body=wanted)


def _key_shown(made: Any) -> str:
    return str(made["api_key"])


def _revoke_key(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.send("DELETE", "tenants", options.tenant, "keys", options.key)


def _key_state(key: Any) -> str:
    said = f"{key['id']} is {key['state']}."
    return f"{said} {key['warning']}" if "warning" in key else said


def _usage(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.get("tenants", options.tenant, "usage")


def _usage_shown(usage: Any) -> str:
    rows = [("in_flight", "requests", usage["in_flight_limit"], usage["in_flight_limit"] - usage["in_flight"], "")]
    rows += [
        (each["name"], each["unit"], each["quota"], each["remaining"], f"{each['reset_ms'] / 1_000:,.0f} s")
        for each in usage["limits"]
    ]
    return table(rows, "LIMIT", "UNIT", "QUOTA", "LEFT", "WHOLE AGAIN IN")


def _set_limits(operator: Operator, options: argparse.Namespace) -> Any:
    return operator.send("PATCH", "tenants", options.tenant, body={"limits": document(options.file)})["limits"]


def _reviews(operator: Operator, _: argparse.Namespace) -> Any:
    return operator.get("reviews")["reviews"]


def _reviews_shown(reviews: Any) -> str:
    rows = (
        (
            each["tenant"],
            each["id"],
            "open" if each["open"] else "cleared",
            _day(each["last_ms"]),
            ", ".join(each["subjects"][-2:]),
            ", ".join(each["addresses"][-2:]),
        )
        for each in reviews
    )
    return table(rows, "TENANT", "REVIEW", "STATE", "LAST", "BY", "FROM")


def _take_step(operator: Operator, options: argparse.Namespace) -> Any:
    place = ("tenants", options.tenant, "reviews", options.review, options.step)
    return operator.send("POST", *place, body={"reason": options.reason})


def _health(operator: Operator, _: argparse.Namespace) -> Any:
    return operator.health()


def _tail(settings: OperatorSettings, options: argparse.Namespace) -> int:
    """Prints the last requests, and with --follow those that end from now on."""
    if not 1 <= options.last <= 100:
        raise NotConfigured("--last takes 1 to 100.")
    operator = Operator(settings)
    tell = _told_as_json if options.json else _told
    page = operator.get("tenants", options.tenant, "requests", limit=options.last)
    for entry in reversed(page["entries"]):
        tell(entry)
    if options.follow:
        for entry in coming(operator, options.tenant, lambda: time.sleep(POLL_S)):
            tell(entry)
    return 0


def coming(operator: Operator, tenant: str, wait: Callable[[], None]) -> Iterator[Any]:
    """Entries of requests that end from now on, looked for after each wait. The ledger is in the order of admission, so
    that who ends late stands among those that were shown."""
    shown = {entry["lease_id"] for entry in _since(operator, tenant, now_ms() - LONGEST_MS)}
    while True:
        sys.stdout.flush()
        wait()
        now = {entry["lease_id"]: entry for entry in _since(operator, tenant, now_ms() - LONGEST_MS)}
        yield from (entry for lease, entry in reversed(now.items()) if lease not in shown)
        shown = set(now)


def _since(operator: Operator, tenant: str, since_ms: int) -> Iterator[Any]:
    """Newest first; of a very busy tenant's, the newest."""
    query: dict[str, Any] = {"since_ms": since_ms, "limit": 100}
    for _ in range(MOST_PAGES):
        page = operator.get("tenants", tenant, "requests", **query)
        yield from page["entries"]
        if page["cursor"] is None:
            return
        query["cursor"] = page["cursor"]


def _told(entry: Any) -> None:
    at = datetime.datetime.fromtimestamp(entry["admitted_ms"] / 1_000, datetime.UTC)
    tokens = f"{entry['tokens_in'] or 0}+{entry['tokens_out'] or 0} tokens"
    ended = entry["outcome"] + (f" ({entry['reason']})" if entry["reason"] else "")
    took_ms = entry["settled_ms"] - entry["admitted_ms"]
    where = f"{entry['pool']} on {entry['target']}" if entry["target"] else entry["pool"]
    print(
        f"{at:%Y-%m-%d %H:%M:%S}  {where}  {tokens}  {took_ms} ms  {ended}  {entry['subject']}  {entry['request_id']}"
    )


def _told_as_json(entry: Any) -> None:
    print(json.dumps(entry))


def _indented(found: Any) -> str:
    return json.dumps(found, indent=2)


def _done(_: Any) -> str:
    return "Done."


def _day(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1_000, datetime.UTC):%Y-%m-%d}"
