"""Bodies of requests and responses: pydantic models, one file per resource.

Times are RFC 3339 in UTC, and numbers that are not finite are null.
"""
