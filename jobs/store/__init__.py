"""Every query of the project, a file a noun. Functions take a session and never commit: `Database.write()` does."""
