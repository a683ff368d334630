"""The service on this machine: `gantry up`, `gantry demo` and `gantry doctor`. They start `python -m` processes."""
