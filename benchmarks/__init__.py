"""Measurements: each prints what it measured, and writes what the docs quote."""
