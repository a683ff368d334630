"""Clients that others generate from docs/openapi.json, against a running service; and linters of that document."""
