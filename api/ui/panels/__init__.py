"""Parts of a job's page: each is built once, and brought up to date by its `refresh`."""
