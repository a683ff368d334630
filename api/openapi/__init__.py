"""The OpenAPI document: what generated clients and readers know of the interface.

Routes take from here what they must say of themselves; `document` derives the rest.
"""

from api.openapi.document import document, served_at
from api.openapi.responses import ANY_PROBLEM, body_of, files, headers, problems

__all__ = ["ANY_PROBLEM", "body_of", "document", "files", "headers", "problems", "served_at"]
