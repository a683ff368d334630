"""Parts of pages. The panels of a job are built once; their `refresh` updates them."""
