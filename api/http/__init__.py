"""HTTP conventions that all routes share: errors, bodies, parameters, headers, middleware."""
