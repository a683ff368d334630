"""Health: detect what goes wrong in a run, since which step, and propose a remedy. It changes nothing by itself.

The output depends on the input alone: no clock, no random number. The rules and thresholds are in docs/health.md.
"""

from gan.health.health import HealthAction, HealthMonitor

__all__ = ["HealthAction", "HealthMonitor"]
