"""How jobs, uploads and images look in a terminal."""
