"""The board for people: one page of HTML without scripts, which looks as its own style says and asks for nothing more.

Every text of somebody's is escaped here, where it is put into markup, and nowhere else.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path

from chalicelib.status.board import Board, ComponentView, DayShares, Speed, Standing
from chalicelib.status.incidents import Incident
from chalicelib.status.maintenance import Window

HEADLINES: dict[Standing, str] = {
    "up": "Everything runs",
    "planned": "Planned maintenance is under way",
    "degraded": "Something is not as it should be",
    "down": "Something is down",
    "unknown": "How it stands is not known",
}
WORDS: dict[Standing, str] = {
    "up": "Up",
    "planned": "Planned maintenance",
    "degraded": "Degraded",
    "down": "Down",
    "unknown": "Not known",
}
KINDS: Sequence[Standing] = ("up", "planned", "unknown", "degraded", "down")
"""From the top of a bar to its ground."""

HEIGHT = 40
LEAST = 7  # of HEIGHT: what one minute of trouble is shown as, so that it is seen
STALE_MINUTES = 10


def page(board: Board, *, subscribe: str = "", json: str = "") -> str:
    """`subscribe`, `json`: where these are from here; empty: there is no such thing."""
    moment = _moment(board.made_ms)
    open_incidents = [each for each in board.incidents if each.is_open]
    past = [each for each in board.incidents if not each.is_open]
    names = {each.id: each.name for each in board.components}
    windows = [each for each in board.maintenance if each.ends_ms > board.made_ms]
    link = f' The same <a href="{escape(json)}">as JSON</a>.' if json else ""
    body = (
        f'<p class="banner {board.status}" role="status">{HEADLINES[board.status]}</p>\n'
        f'<p class="quiet">As of {moment}. Where this is more than {STALE_MINUTES} minutes ago, the page is stale, and '
        "says nothing of how things stand now.</p>\n"
        + _section("Incidents that are open", (_incident(each, names) for each in open_incidents))
        + _section("Planned maintenance", (_window(each, names) for each in windows))
        + _section("Components", [_legend(), *map(_component, board.components)] if board.components else ())
        + _speeds(board.components)
        + _section("Incidents of the last 90 days", (_incident(each, names) for each in past))
        + (_form(subscribe) if subscribe else "")
        + f"<footer><p>Every minute is measured. One of which there is no sample is not known, and never counts as up; "
        f"days are those of UTC. Region {escape(board.region)}.{link}</p></footer>\n"
    )
    return framed("Status", f"<h1>Status</h1>\n{body}")


def framed(title: str, body: str) -> str:
    """A page of ours; `body`: markup."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>Cloister: {escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_style()}</style>\n'
        f"</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


@cache
def policy() -> str:
    """What the page may do, as `Content-Security-Policy` says it: look as its style says, and send its form here."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    ours = Path(__file__)
    both = (ours.parents[1] / "http" / "browser" / "pages.css", ours.with_name("page.css"))
    return "\n".join(each.read_text(encoding="utf-8") for each in both)


def _section(title: str, articles: Iterable[str]) -> str:
    found = "".join(articles)
    return f"<section><h2>{title}</h2>\n{found}</section>\n" if found else ""


def _legend() -> str:
    states = " ".join(f'<span class="state {kind}">{WORDS[kind]}</span>' for kind in KINDS)
    return f'<p class="quiet legend">{states}</p>\n'


def _component(view: ComponentView) -> str:
    uptime = "nothing measured" if view.uptime_percent is None else f"{view.uptime_percent:.2f} % up where measured"
    said = f"{uptime}; {view.measured_percent:.2f} % of all minutes were measured"
    head = (
        f'<article><header><h3>{escape(view.name)}</h3><span class="state {view.status}">{WORDS[view.status]}</span>'
        "</header>\n"
    )
    if not view.watched:
        return f'{head}<p class="quiet">Not measured: only incidents tell how it is.</p></article>\n'
    return (
        f"{head}<figure>{_bars(view, said)}<figcaption><span>{len(view.days)} days ago</span>"
        f'<span class="said">{said}</span><span>today</span></figcaption></figure>\n{_by_day(view)}</article>\n'
    )


def _bars(view: ComponentView, said: str) -> str:
    """A bar for each day, the last one at the right; its parts are as high as their share of what has passed of it."""
    rects = "".join(_bar(place, day) for place, day in enumerate(view.days))
    label = escape(f"{view.name}, the last {len(view.days)} days: {said}. The days are listed below.")
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {len(view.days) * 10} {HEIGHT}" '
        f'preserveAspectRatio="none">{rects}</svg>'
    )


def _bar(place: int, day: DayShares) -> str:
    minutes = {kind: getattr(day, kind) for kind in KINDS}
    passed = sum(minutes.values())
    if not passed:
        return ""
    heights = {kind: _height(count, passed, kind) for kind, count in minutes.items() if count}
    # What was rounded, or lifted so that it is seen, is at the cost of what there is most of.
    heights[max(heights, key=minutes.__getitem__)] += HEIGHT - sum(heights.values())
    found, top = "", 0
    for kind, height in heights.items():
        found += f'<rect class="{kind}" x="{place * 10}" y="{top}" width="8" height="{height}"/>'
        top += height
    return found


def _height(count: int, passed: int, kind: Standing) -> int:
    return max(round(count * HEIGHT / passed), LEAST if kind in ("degraded", "down") else 1)


def _by_day(view: ComponentView) -> str:
    """Those that were not simply up."""
    rows = [day for day in reversed(view.days) if day.degraded or day.down or day.planned or day.unknown]
    if not rows:
        return '<p class="quiet">Up in every minute of every day.</p>'
    cells = "".join(
        f'<tr><th scope="row">{day.date}</th><td>{day.up}</td><td>{day.degraded}</td><td>{day.down}</td>'
        f"<td>{day.planned}</td><td>{day.unknown}</td></tr>"
        for day in rows
    )
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Day", "Up", "Degraded", "Down", "Planned", "Not known")
    )
    return (
        f"<details><summary>Days that were not up throughout ({len(rows)})</summary>"
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(view.name)}, by day"><table>'
        f"<caption>Minutes of each day</caption><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>"
        "</details>"
    )


def _speeds(components: Iterable[ComponentView]) -> str:
    rows = "".join(_speed(each.name, each.speed[-1]) for each in components if each.speed)
    if not rows:
        return ""
    heads = ("Model", "Day", "Questions", "First token, median", "95 %", "Tokens per second, median")
    return (
        '<section><h2>Speed</h2>\n<div class="wide" tabindex="0" role="region" aria-label="Speed"><table>'
        "<caption>A short question to each, every quarter of an hour</caption><thead><tr>"
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )


def _speed(name: str, speed: Speed) -> str:
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{speed.date}</td><td>{speed.questions}</td>'
        f"<td>{speed.first_token_ms} ms</td><td>{speed.first_token_p95_ms} ms</td>"
        f"<td>{speed.tokens_per_s:.1f}</td></tr>"
    )


def _incident(incident: Incident, names: dict[str, str]) -> str:
    updates = "".join(
        f"<li><strong>{each.step.title()}</strong> {_moment(each.at_ms)}<br>{_prose(each.text)}</li>"
        for each in reversed(incident.updates)
    )
    impact = incident.last.impact
    state: Standing = "up" if impact == "none" else impact
    word = "Resolved" if not incident.is_open else WORDS[state] if state != "up" else "No impact"
    return (
        f'<article><header><h3>{escape(incident.title)}</h3><span class="state {state}">{word}</span></header>'
        f"{_affected(incident.components, names)}<ol>{updates}</ol></article>\n"
    )


def _window(window: Window, names: dict[str, str]) -> str:
    return (
        f"<article><h3>{escape(window.title)}</h3><p>{_moment(window.begins_ms)} to {_moment(window.ends_ms)}</p>"
        f"{_affected(window.components, names)}<p>{_prose(window.text)}</p></article>\n"
    )


def _affected(components: Iterable[str], names: dict[str, str]) -> str:
    found = ", ".join(escape(names.get(each, each)) for each in components)
    return f'<p class="quiet">Concerns {found}.</p>' if found else ""


def _form(action: str) -> str:
    return (
        '<section><h2>Hear of incidents</h2>\n<p class="quiet">A mail for each update of an incident. You are asked '
        "first whether the address is yours, and each mail says how to hear no more.</p>\n"
        f'<form method="post" action="{escape(action)}"><label for="email">Mail address</label>'
        '<input id="email" name="email" type="email" autocomplete="email" required maxlength="254">'
        "<button>Subscribe</button></form></section>\n"
    )


def _prose(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _moment(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M} UTC</time>'
