"""Whole clusters in virtual time, from a seed: what goes wrong in months goes wrong here in seconds, and again.

Example:
    >>> report = simulate(7, Plan(executions=5, storm=10.0))
    >>> report.problems
    []
"""

from __future__ import annotations

from mainspring.testing.simulation.cluster import Plan
from mainspring.testing.simulation.run import Report, simulate

__all__ = ["Plan", "Report", "simulate"]
