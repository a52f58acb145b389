"""The report of a fleet as one HTML page that needs nothing else: for a person who looks rather than reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

# One hue per meaning, told apart by lightness, too; the words are always beside them.
COLOURS = {
    "managed": "#2a7f4f",
    "clean": "#2a7f4f",
    "current": "#86b89a",
    "behind": "#e0a526",
    "drifted": "#d9742b",
    "conflict": "#d9742b",
    "adoptable": "#5b8fc9",
    "blocked": "#8c4a9e",
    "invalid": "#b3261e",
    "broken": "#b3261e",
    "archived": "#9aa0a6",
    "skipped": "#9aa0a6",
}
REST = "#9aa0a6"
WIDTH, HEIGHT = 720, 180

STYLE = """
:root { --ink: #1d2125; --soft: #5c636a; --line: #dfe2e6; --ground: #fff; --card: #f6f7f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a7adb4; --line: #3a4046; --ground: #16191c; --card: #1f2428; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.5rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .7rem; }
.soft { color: var(--soft); } .tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.2rem; }
.tile { background: var(--card); border-left: .35rem solid; border-radius: .3rem; padding: .6rem 1rem;
  min-width: 7.5rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: 1.1rem; border-radius: .3rem; overflow: hidden; gap: 2px; margin-top: 1rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2.5rem; }
.row { display: grid; grid-template-columns: 12rem 1fr 3rem; gap: .6rem; align-items: center; margin: .25rem 0; }
.row span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row i { display: block; height: .8rem; border-radius: .2rem; background: #5b8fc9; min-width: 2px; }
.row span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.reason { max-width: 34rem; overflow-wrap: anywhere; }
.mark { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .45rem; }
input { font: inherit; padding: .35rem .6rem; width: 20rem; max-width: 100%; border: 1px solid var(--line);
  border-radius: .3rem; background: var(--ground); color: inherit; margin-bottom: .6rem; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
a { color: inherit; }
"""
SCRIPT = """
document.getElementById('search').addEventListener('input', event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of document.querySelectorAll('#repositories tbody tr'))
    row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
});
"""


def render(content: Mapping[str, Any]) -> str:
    """The page."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>Fleet: {escape(content['place'])}</title><style>{STYLE}</style></head><body>",
            *_body(content),
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )


def _body(content: Mapping[str, Any]) -> Iterator[str]:
    repositories = content["repositories"]
    yield f"<h1>{len(repositories)} repositories</h1>"
    scanned = f", looked at {_moment(content['scanned'])}" if content["scanned"] else ""
    yield f'<div class="soft">{escape(content["place"])}{scanned}</div>'
    if content["states"]:
        yield from _counts(content["states"])
    if content["outcomes"]:
        target = content["simulated"]["target"]
        what = target.get("to") or target.get("policy") or "the newest version"
        yield f"<h2>What {escape(str(what))} would do</h2>"
        yield from _counts(content["outcomes"])
    if len(content["history"]) > 1:
        yield "<h2>Still to do, scan by scan</h2>"
        yield from _burn_down(content["history"])
    yield '<div class="columns">'
    for title, counts in (("Off, by rule", content["rules"]), ("Conflicts, by file", content["conflicts"])):
        if counts:
            yield f"<div><h2>{title}</h2>"
            yield from _bars(counts)
            yield "</div>"
    yield "</div>"
    for campaign in content["campaigns"]:
        yield from _campaign(campaign)
    yield from _repositories(repositories)


def _counts(counts: Mapping[str, int]) -> Iterator[str]:
    yield '<div class="tiles">'
    for name, count in counts.items():
        yield f'<div class="tile" style="border-color:{COLOURS.get(name, REST)}"><b>{count}</b>{escape(name)}</div>'
    yield '</div><div class="bar">'
    for name, count in counts.items():
        title = f"{count} {escape(name)}"
        yield f'<div style="flex:{count};background:{COLOURS.get(name, REST)}" title="{title}"></div>'
    yield "</div>"


def _bars(counts: Mapping[str, int]) -> Iterator[str]:
    most = max(counts.values())
    for name, count in list(counts.items())[:15]:
        width = 100 * count / most
        yield f'<div class="row"><span title="{escape(name)}">{escape(name)}</span>'
        yield f'<i style="width:{width:.1f}%"></i><span>{count}</span></div>'


def _burn_down(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line: how many repositories were not as they should be."""
    values = [
        sum(n for state, n in each["states"].items() if state in {"behind", "drifted", "broken"}) for each in history
    ]
    most = max([*values, 1])
    step = (WIDTH - 80) / (len(values) - 1)
    points = [(40 + step * i, HEIGHT - 30 - (HEIGHT - 60) * value / most) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    said = f"From {values[0]} to {values[-1]} repositories"
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{said}">'
    yield f'<line x1="40" y1="{HEIGHT - 30}" x2="{WIDTH - 40}" y2="{HEIGHT - 30}" stroke="currentColor" opacity=".25"/>'
    yield f'<polyline points="{line}" fill="none" stroke="#d9742b" stroke-width="2.5" stroke-linejoin="round"/>'
    for (x, y), value, each in zip(points, values, history, strict=True):
        title = f"{_moment(each['time'])}: {value}"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#d9742b"><title>{title}</title></circle>'
    for (x, y), value in ((points[0], values[0]), (points[-1], values[-1])):
        yield f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{value}</text>'
    for anchor, x, each in (("start", 40, history[0]), ("end", WIDTH - 40, history[-1])):
        yield f'<text x="{x}" y="{HEIGHT - 10}" text-anchor="{anchor}">{_moment(each["time"])}</text>'
    yield "</svg>"


def _campaign(campaign: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>Campaign {escape(campaign['id'])}: {escape(campaign['state'])}</h2>"
    if campaign["reason"]:
        yield f"<div>{escape(campaign['reason'])}</div>"
    yield '<div class="scroll"><table><thead><tr><th>Ring</th><th>Repositories</th></tr></thead><tbody>'
    for ring in campaign["rings"]:
        counts = ", ".join(f"{count} {escape(state)}" for state, count in ring["states"].items())
        yield f"<tr><td>{ring['ring']}</td><td>{counts}</td></tr>"
    yield "</tbody></table></div>"


def _repositories(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    simulated = any(row.get("outcome") for row in rows)
    requested = any(row.get("requests") for row in rows)
    yield '<h2>Repositories</h2><input id="search" type="search" placeholder="Search names, states and reasons" '
    yield 'aria-label="Search"><div class="scroll"><table id="repositories"><thead><tr><th>Name</th><th>State</th>'
    yield "<th>Version</th>" + ("<th>Trial</th>" if simulated else "") + ("<th>Request</th>" if requested else "")
    yield "<th>Reason</th></tr></thead><tbody>"
    for row in rows:
        yield f"<tr><td>{escape(row['name'])}</td><td>{_marked(row['state'])}</td>"
        yield f"<td>{escape(row.get('version') or '')}</td>"
        if simulated:
            yield f"<td>{_marked(row.get('outcome') or '')}</td>"
        if requested:
            yield f"<td>{'<br>'.join(map(_request, row.get('requests', [])))}</td>"
        reasons = [row.get("reason") or ""]
        if row.get("outcome") in {"conflict", "invalid", "blocked"}:
            reasons.append(row["outcome_reason"])
        yield f'<td class="reason">{escape("; ".join(dict.fromkeys(filter(None, reasons))))}</td></tr>'
    yield "</tbody></table></div>"


def _request(request: Mapping[str, str]) -> str:
    text = escape(f"{request['state']} {request['result']}".strip())
    url = request["url"]
    return f'<a href="{escape(url)}" rel="noreferrer">{text}</a>' if url.startswith(("http://", "https://")) else text


def _marked(state: str) -> str:
    mark = f'<span class="mark" style="background:{COLOURS.get(state, REST)}"></span>' if state else ""
    return f"{mark}{escape(state)}"


def _moment(time: str) -> str:
    return escape(time[:16].replace("T", " "))
