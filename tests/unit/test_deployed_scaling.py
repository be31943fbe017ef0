"""What `deploy/scaling` asks for is there, and the script follows the number that is wanted."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mainspring.api.admin_nodes import WantedNodes, router
from mainspring.cli.serving import read_roles
from mainspring.observability.metrics import Metrics
from mainspring.observability.metrics_text import Gauges, metrics_text
from mainspring.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Scale = Callable[..., list[str]]

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "scaling"
MANIFESTS: Final = sorted(FOLDER.glob("*.yaml"))


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_every_metric_that_a_scaler_asks_for_is_told(manifest: Path) -> None:
    told = metrics_text(Metrics(), Gauges(nodes_wanted=2)).decode()
    asked = set(re.findall(r"\bmainspring_\w+", manifest.read_text(encoding="utf-8")))
    assert all(f"\n{name} 2.0" in told for name in asked), asked


def test_the_scaler_of_the_api_asks_for_a_route_and_a_field_that_are_there() -> None:
    text = text_of("keda-api.yaml")
    [path] = re.findall(r"url: http://[^/]+(/\S+)", text)
    [field] = re.findall(r"valueLocation: (\w+)", text)
    assert path in {getattr(route, "path", "") for route in router.routes}
    assert field in {info.alias or name for name, info in WantedNodes.model_fields.items()}


def test_workers_have_settings_and_roles_that_there_are_and_time_to_drain() -> None:
    text = text_of("workers.yaml")
    said = dict(re.findall(r"name: MAINSPRING_(\w+), value: ([^}]+)\}", text))
    settings = Settings.model_validate({name.lower(): value for name, value in said.items()})
    assert not settings.concurrency.are_fixed
    [roles] = re.findall(r"--roles, (\S+?)\]", text)
    assert read_roles(roles) == ("worker",)
    [grace] = re.findall(r"terminationGracePeriodSeconds: (\d+)", text)
    assert timedelta(seconds=int(grace)) > settings.shutdown_grace


@pytest.fixture
def scale(tmp_path: Path) -> Scale:
    """Run the script with what `mainspring nodes wanted` says at each look; returns the numbers it scaled to."""
    said = tmp_path / "said"
    program = tmp_path / "mainspring"
    program.write_text(f"#!/bin/sh\nhead -n 1 {said} | grep . && sed -i 1d {said}\n")
    program.chmod(0o755)

    def run(*wanted: str, patience: int = 2) -> list[str]:
        said.write_text("\n".join(wanted) + "\n")
        done = subprocess.run(
            [str(FOLDER / "scale.sh"), "1", "8", "echo"],
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "SECONDS_BETWEEN_LOOKS": "0",
                "PATIENCE": str(patience),
                "LOOKS": str(len(wanted)),
            },
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        return done.stdout.split()

    return run


def test_the_script_grows_at_once_and_shrinks_when_less_was_wanted_for_long(scale: Scale) -> None:
    assert scale("0", "3", "5", "2", "5", "2", "2", "2") == ["1", "3", "5", "2"]


def test_the_script_keeps_to_its_bounds_and_does_nothing_while_nobody_answers(scale: Scale) -> None:
    assert scale("99", "", "", "", "8", patience=1) == ["8"]
