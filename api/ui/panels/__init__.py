"""Parts of a page: those of a job's are built once, and brought up to date by their `refresh`."""
