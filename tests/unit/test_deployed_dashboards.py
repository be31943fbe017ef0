"""The Grafana dashboard and the rules for Prometheus ask for metrics that exist, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from mainspring.domain.execution import Outcome
from mainspring.domain.firing_policy import TickOutcome
from mainspring.observability.metrics import Metrics
from mainspring.observability.metrics_text import Gauges, metrics_text

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
DASHBOARD: Final = DEPLOY / "grafana" / "mainspring.json"
RULES: Final = DEPLOY / "prometheus" / "rules.yml"
CASES: Final = DEPLOY / "prometheus" / "rules_test.yml"
OF_CONTRACT: Final = {
    "mainspring_executions_total": {"job", "outcome"},
    "mainspring_execution_seconds": {"job"},
    "mainspring_queue_depth": {"queue"},
    "mainspring_oldest_queued_seconds": {"queue"},
    "mainspring_ticks_total": {"outcome"},
    "mainspring_tick_lateness_seconds": set[str](),
    "mainspring_leases_lost_total": set[str](),
    "mainspring_fenced_writes_total": set[str](),
    "mainspring_loop_lag_seconds": {"loop"},
    "mainspring_db_reconnects_total": set[str](),
    "mainspring_clock_skew_seconds": set[str](),
    "mainspring_outbox_depth": set[str](),
    "mainspring_alerts_open": {"severity"},
}
"""Contract §9."""


def samples() -> dict[str, set[str]]:
    """Return the name of every sample that a busy node tells, with its labels."""
    metrics = Metrics()
    metrics.execution_ended("sweep", Outcome.SUCCEEDED, 0.5)
    metrics.ticks[TickOutcome.FIRED] += 1
    text = metrics_text(
        metrics,
        Gauges(
            queue_depth={"default": 1},
            oldest_queued_seconds={"default": 1.0},
            outbox_depth=1,
            alerts_open={"critical": 1},
            job_breakers_open={"pay": True},
            loop_lag_seconds={"worker": 0.0},
            clock_skew_seconds=0.0,
        ),
    ).decode()
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*?)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    return found


def expressions() -> dict[str, str]:
    """Return every expression, by where it stands."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = {
        f"panel {panel['title']}, {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    rules = RULES.read_text(encoding="utf-8")
    for name, body in re.findall(
        r"- (?:alert|record): (\S+)\n\s+expr: (.*?)(?=\n\s+(?:- |for:|labels:)|\Z)", rules, re.DOTALL
    ):
        found[f"rule {name}"] = body.removeprefix(">-").strip()
    return found


def test_every_metric_of_the_contract_is_told_with_its_labels() -> None:
    told = samples()
    for name, labels in OF_CONTRACT.items():
        sample = name if name in told else f"{name}_bucket"
        assert told[sample] - {"le"} == labels, name


@pytest.mark.parametrize("place", expressions())
def test_an_expression_asks_for_what_is_there(place: str) -> None:
    expression = expressions()[place]
    told = samples()
    recorded = set(re.findall(r"- record: (\S+)", RULES.read_text(encoding="utf-8")))
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")
    names = re.findall(r"\bmainspring[\w:]+", expression)
    assert names or expression.startswith("up{")
    for name in names:
        assert name in told or name in recorded, name
    for name, selectors in re.findall(r"(mainspring_\w+)\{(.*?)\}", expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors)) <= told[name] | {"le"}, name
    known = {label for labels in told.values() for label in labels} | {"instance"}
    for labels in re.findall(r"\b(?:by|on) \((.*?)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known


def test_every_metric_of_the_contract_is_on_the_dashboard() -> None:
    shown = " ".join(expression for place, expression in expressions().items() if place.startswith("panel"))
    missing = [name for name in OF_CONTRACT if name not in shown]
    assert not missing


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    text = RULES.read_text(encoding="utf-8")
    alerts = re.split(r"\n\s+- (?=alert:|record:)", text)[1:]
    for alert in (part for part in alerts if part.startswith("alert:")):
        assert re.search(r"severity: (info|warning|critical)", alert), alert
        assert "summary:" in alert
        assert "action:" in alert


def test_every_rule_is_tried_in_a_quiet_hour_and_when_everything_goes_wrong() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    quiet, wrong = CASES.read_text(encoding="utf-8").split("an hour in which everything goes wrong")
    for alert in alerts:
        assert f"alertname: {alert}}}" in quiet, alert
        assert f'alertname="{alert}"' in wrong, alert


def test_no_two_panels_overlap() -> None:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
