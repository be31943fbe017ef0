"""Executions as they are read: one, lists, searches, and what people see of runs."""
