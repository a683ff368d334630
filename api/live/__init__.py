"""What follows jobs while they run: server-sent events, and shared reads for polling clients."""
