"""Live updates of jobs: server-sent events, and shared reads for clients that poll."""
