"""One file for each kind of channel; `docs/notifications.md` says how to add another."""
