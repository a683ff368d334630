"""The routes, a file a noun: they read the request, ask `jobs`, and answer. No logic, no SQL."""
