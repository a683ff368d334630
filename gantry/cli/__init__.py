"""The command `gantry`, one file for each noun."""
