"""Rows of the database as response bodies, one file per resource."""
