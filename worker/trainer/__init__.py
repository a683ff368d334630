"""One attempt of a job in a process of its own: the only process that trains."""
