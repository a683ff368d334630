"""How good the images are: distances and scores in the features of a small network, and cheap probes."""
