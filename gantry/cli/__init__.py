"""The command `gantry`, a file a noun."""
