"""Who may act: people, their sessions, API keys, and what was revoked."""
