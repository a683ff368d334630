"""Every query of the service, one file for each noun. Functions never commit: `Database.write()` does."""
