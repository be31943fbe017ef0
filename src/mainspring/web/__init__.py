"""The dashboard: pages made on the server, one file each, mounted at `/ui` or in any ASGI application."""
