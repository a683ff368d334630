"""Uploaded images: `python -m gan.uploads`, a process with limited rights, checks and unpacks a zip archive.

The content of an upload is not trusted. The process therefore imports neither torch nor `jobs`, and has no secrets.
"""
