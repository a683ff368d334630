"""The quality of a generator: evaluations in the features of a small network, and cheap probes of G and D."""
