"""Rows on their way out: queries of applications and the built-in reports."""
