"""Webhooks on their way out: which addresses may be called, one signed POST, and whoever carries them."""
