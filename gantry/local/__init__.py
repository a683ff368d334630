"""The whole service on this machine: `gantry up`, `gantry demo`, `gantry doctor`."""
