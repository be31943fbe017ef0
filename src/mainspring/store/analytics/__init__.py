"""Figures of what has ended: roll-ups, statistics, and failures by their cause."""
