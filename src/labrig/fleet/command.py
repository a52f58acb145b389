"""The commands `labrig fleet scan`, `check`, `simulate`, `update`, `revert` and `report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..check import RULES
from ..errors import UsageError
from ..report import GREEN, RED, YELLOW, Report
from . import campaign as campaigns
from . import page, simulation
from .campaign import Rollout, Runner
from .inventory import Selection, members, shard
from .ledger import Campaign, Ledger, open_ledger
from .scan import STATES, Look, Options, scan
from .simulation import OUTCOMES, Outcome, Target, Trials, simulate
from .work import open_executor, spread

COLOURS = {"managed": GREEN, "clean": GREEN, "current": GREEN, "behind": YELLOW, "adoptable": YELLOW}


@dataclass(frozen=True)
class Request:
    """What all commands of a fleet share."""

    where: str = ""
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    shard: str = "1/1"
    policy: str | None = None
    ledger: Path | None = None
    cache: Path | None = None
    fetch: bool = True
    executor: str | None = None
    jobs: int | None = None
    ignored: list[str] = field(default_factory=list)

    @property
    def selection(self) -> Selection:
        """Which repositories are wanted."""
        return Selection(tuple(self.include), tuple(self.exclude), tuple(self.topics), shard(self.shard))

    @property
    def options(self) -> Options:
        """How they are looked at."""
        return Options(self.policy, self.cache, self.fetch, tuple(self.ignored))


def run_scan(request: Request, report: Report, *, strict: bool = False) -> int:
    """Say the state of every repository. The exit code is 1 when one is broken; with `strict`, when one is off."""
    if unknown := [rule for rule in request.ignored if rule not in RULES]:
        raise UsageError(f"there is no rule {unknown[0]}", tip=", ".join(RULES))
    found = members(request.where, request.selection)
    with report.step(f"Looking at {len(found)} repositories"), open_executor(request.executor, request.jobs) as pool:
        looks: list[Look] = sorted(spread(scan, found, request.options, executor=pool), key=lambda each: each.name)
    with open_ledger(request.ledger) as ledger:
        ledger.store("scan", request.where, {"policy": request.policy}, looks, state="state")
    wrong = {"broken", "drifted", "behind"} if strict else {"broken"}
    failed = any(look.state in wrong for look in looks)
    if report.json:
        counts = Counter(look.state for look in looks)
        report.object({"ok": not failed, "states": counts, "repositories": [asdict(look) for look in looks]})
        return int(failed)
    _table(report, [(look.name, look.state, look.reason) for look in looks])
    if strict:
        for look in looks:
            for finding in look.findings:
                report.data(f"  {look.name}/{finding.path}:{finding.line}: {finding.rule}: {finding.message}")
    report.say(_counted(STATES, Counter(look.state for look in looks)))
    return int(failed)


def run_simulate(request: Request, target: Target, budget: str, report: Report) -> int:
    """Try a version, or a policy, on every repository. The exit code is 1 when more need a person than may."""
    if not budget.rstrip("%").replace(".", "", 1).isdigit():
        raise UsageError(f"--budget takes a number or a share, not '{budget}'", tip="--budget 3, or --budget 5%")
    found = members(request.where, request.selection)
    target = replace(target, policy=request.policy)
    with report.step(f"Trying {len(found)} repositories"), open_executor(request.executor, request.jobs) as pool:
        outcomes: list[Outcome] = list(spread(simulate, found, request.options, target, executor=pool))
    outcomes.sort(key=lambda each: each.name)
    with open_ledger(request.ledger) as ledger:
        ledger.store("simulation", request.where, asdict(target), outcomes, state="outcome")
    reason = simulation.over_budget(outcomes, budget)
    groups = simulation.grouped(outcomes)
    counts = Counter(outcome.outcome for outcome in outcomes)
    if report.json:
        report.object(
            {
                "ok": not reason,
                "reason": reason,
                "outcomes": counts,
                "conflicts": [asdict(group) for group in groups],
                "repositories": [asdict(outcome) for outcome in outcomes],
            }
        )
        return int(bool(reason))
    _table(report, [(outcome.name, outcome.outcome, outcome.reason) for outcome in outcomes])
    for group in groups:
        shown = ", ".join(group.names[:3]) + (", ..." if len(group.names) > 3 else "")
        report.data(f"conflict in {len(group.names)}: {group.path}: {group.reason} ({shown})")
    changed = Counter(f"{name}={value}" for each in outcomes for name, value in each.answers.items())
    for answer, count in changed.most_common(10):
        report.say(f"answer in {count}: {answer}")
    report.say(_counted(OUTCOMES, counts))
    if reason:
        report.say(report.paint(reason, RED))
    return int(bool(reason))


def run_update(request: Request, rollout: Rollout, rings: str, name: str | None, report: Report) -> int:
    """Bring a campaign as far as it goes. The exit code is 1 when it halts, 3 when some need a person, else 0."""
    target = replace(rollout.target, policy=request.policy)
    rollout = replace(rollout, target=target, options=request.options)
    name = name or f"update-{target.to or 'newest'}"
    with open_ledger(request.ledger, alone=True) as ledger:
        campaign = campaigns.start(ledger, name, request.where, rings.split(","), asdict(target))
        known = ledger.campaign(name)
        if known is None:
            ledger.start(campaign, campaigns.plan(campaign, members(request.where, request.selection)))
        elif known.rings != campaign.rings:  # it goes on with more of them
            actions = {action.name: action for action in ledger.actions(name)}
            again = campaigns.plan(campaign, [action.member for action in actions.values()])
            ledger.start(campaign, [replace(actions[each.name], ring=each.ring) for each in again])
        report.state = f"Run the same command again to go on with the campaign {name}."
        with Trials(request.options, target) as trials:
            runner = Runner(ledger, campaign, rollout, report.say)
            state = runner.run(campaigns.updates(trials, campaign, rollout))
        return _end(ledger, campaign, state, report)


def run_revert(request: Request, rollout: Rollout, name: str, report: Report) -> int:
    """Close what is open of a campaign, and open the reverse of what was merged."""
    rollout = replace(rollout, options=request.options)
    with open_ledger(request.ledger, alone=True) as ledger:
        of = ledger.campaign(name)
        if of is None:
            known = ", ".join(each.id for each in ledger.campaigns()) or "none"
            raise UsageError(f"there is no campaign '{name}'", cause=f"campaigns in the ledger: {known}")
        merged = campaigns.close_requests(ledger, of, rollout, report.say)
        campaign = campaigns.start(ledger, f"revert-{name}", of.place, ["100%"], of.target)
        if ledger.campaign(campaign.id) is None:
            found = [action.member for action in ledger.actions(name) if action.name in merged]
            ledger.start(campaign, campaigns.plan(campaign, found))
        state = Runner(ledger, campaign, rollout, report.say).run(campaigns.reverts(ledger, of, campaign))
        return _end(ledger, campaign, state, report)


def _end(ledger: Ledger, campaign: Campaign, state: str, report: Report) -> int:
    actions = ledger.actions(campaign.id)
    counts = Counter(action.state for action in actions)
    needs_person = sum(counts[each] for each in campaigns.RETRIED)
    code = 1 if state == "halted" else 3 if needs_person and state == "done" else 0
    if report.json:
        fields = [{key: value for key, value in asdict(action).items() if key != "member"} for action in actions]
        report.object(
            {
                "ok": code == 0,
                "campaign": campaign.id,
                "state": state,
                "reason": campaign.reason,
                "repositories": fields,
            }
        )
        return code
    _table(report, [(each.name, each.state, f"ring {each.ring + 1}  {each.reason}") for each in actions])
    report.say(f"{campaign.id}: {state}" + (f": {campaign.reason}" if campaign.reason else ""))
    return code


def run_report(request: Request, html: Path | None, report: Report) -> int:
    """The table, the JSON or the page of what the ledger holds."""
    with open_ledger(request.ledger) as ledger:
        content = gather(ledger)
    if not content["repositories"] and not content["campaigns"]:
        raise UsageError("the ledger is empty", tip="labrig fleet scan WHERE, and simulate")
    if html is not None:
        html.write_text(page.render(content), encoding="utf-8")
        report.say(f"Wrote {html}.")
    if report.json:
        report.object(content)
    elif html is None:
        _table(
            report,
            [(each["name"], each["state"] or each["outcome"], each["reason"]) for each in content["repositories"]],
        )
        for rule, count in content["rules"].items():
            report.data(f"{rule}: {count} repositories")
        for campaign in content["campaigns"]:
            report.data(f"campaign {campaign['id']}: {campaign['state']} {campaign['reason']}".rstrip())
    return 0


def gather(ledger: Ledger) -> dict[str, Any]:
    """Everything that a report shows."""
    run, looks = ledger.last("scan") or ({}, [])
    trial, outcomes = ledger.last("simulation") or ({}, [])
    rows: dict[str, dict[str, Any]] = {}
    for look in looks:
        rows[look["name"]] = {**look, "outcome": "", "outcome_reason": ""}
    for outcome in outcomes:
        row = rows.setdefault(outcome["name"], {"name": outcome["name"], "state": "", "reason": outcome["reason"]})
        row |= {"outcome": outcome["outcome"], "outcome_reason": outcome["reason"], "would_be": outcome["new"]}
    rules = Counter(
        f"{rule} {RULES[rule].name}" for look in looks for rule in {finding["rule"] for finding in look["findings"]}
    )
    conflicts = Counter(path for outcome in outcomes for path in {conflict[0] for conflict in outcome["conflicts"]})
    found = []
    for campaign in ledger.campaigns():
        actions = ledger.actions(campaign.id)
        rings: dict[int, Counter[str]] = {}
        for action in actions:
            rings.setdefault(action.ring, Counter())[action.state] += 1
            if action.name in rows:
                rows[action.name].setdefault("requests", []).append(
                    {"campaign": campaign.id, "state": action.state, "url": action.url, "result": action.result}
                )
        found.append(
            {
                "id": campaign.id,
                "state": campaign.state,
                "reason": campaign.reason,
                "created": campaign.created,
                "rings": [{"ring": ring + 1, "states": dict(counts)} for ring, counts in sorted(rings.items())],
            }
        )
    return {
        "place": run.get("place") or trial.get("place", ""),
        "scanned": run.get("started", ""),
        "simulated": {"started": trial.get("started", ""), "target": trial.get("target", {})},
        "states": _in_order(STATES, Counter(look["state"] for look in looks)),
        "outcomes": _in_order(OUTCOMES, Counter(outcome["outcome"] for outcome in outcomes)),
        "history": [{"time": time, "states": states} for time, states in ledger.history()],
        "rules": dict(rules.most_common()),
        "conflicts": dict(conflicts.most_common()),
        "campaigns": found,
        "repositories": [rows[name] for name in sorted(rows)],
    }


def run_log(request: Request, name: str, repository: str, report: Report) -> int:
    """What a campaign did in one repository, in order."""
    with open_ledger(request.ledger) as ledger:
        lines = ledger.log(name, repository)
    if not lines:
        raise UsageError(f"the campaign {name} has done nothing in {repository}", tip="labrig fleet report")
    for time, text in lines:
        report.data(f"{time}  {text}")
    return 0


def _in_order(names: Mapping[str, str], counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in names if counts.get(name)}


def _counted(names: Mapping[str, str], counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in _in_order(names, counts).items())


def _table(report: Report, rows: Sequence[tuple[str, str, str]]) -> None:
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for name, state, reason in rows:
        painted = report.paint(f"{state:{widths[1]}}", COLOURS.get(state, RED))
        report.data(f"{name:{widths[0]}}  {painted}  {reason}".rstrip())
