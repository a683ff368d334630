"""How jobs, data sets and pictures look in a terminal."""
