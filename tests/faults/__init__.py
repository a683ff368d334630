"""Faults on purpose: storms over a service of real processes, and the checker that reads the record afterwards."""
