"""The chain of the audit: entries, its archive, and pages for people."""
