"""The dashboard: a process of its own, which knows the service by its public HTTP API alone.

It holds a connection to each open page, so there is one process of it, whatever the number of API processes.
"""
