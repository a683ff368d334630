"""One migration for each version of the schema, in order of its number."""
