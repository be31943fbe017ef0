"""The door of programs: HTTP with JSON, one file for each prefix."""
