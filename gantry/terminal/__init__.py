"""What the commands draw in a terminal: the progress bar, tables, the details of a job, images."""
