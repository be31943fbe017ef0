"""Alerts, silences, and the outbox of what is told of them."""
