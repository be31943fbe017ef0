"""The one way out: every HTTP request to a webhook, a service or a chat goes through `Egress` (design 15)."""
