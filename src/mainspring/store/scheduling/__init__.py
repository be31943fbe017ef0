"""Schedules and their ticks: what is due, fired, paused, filled in afterwards or follows other jobs."""
