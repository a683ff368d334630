"""Measurements of the verdicts of health."""
