"""The dashboard. It runs in a separate process and uses only the public HTTP API of the service.

It keeps one connection to each open page. So there is exactly one dashboard process for any number of API processes.
"""
