"""Health: what goes wrong in a run, from when on, and what would cure it. It says so and changes nothing by itself.

A function of what it is fed and nothing else: no clock, no random number. Rules and thresholds: docs/health.md.
"""

from gan.health.health import HealthAction, HealthMonitor

__all__ = ["HealthAction", "HealthMonitor"]
