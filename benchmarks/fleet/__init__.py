"""A long queue and a large fleet, simulated on a real PostgreSQL."""
