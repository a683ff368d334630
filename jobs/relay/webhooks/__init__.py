"""Webhooks: which addresses may be called, one signed POST, and the thread that delivers them."""
