"""What all routes share: errors and their HTTP statuses (`problems`), bodies, parameters, headers, middleware."""
