"""The inference server: draws images from trained generators, for the API alone."""
