"""Webhooks: which addresses may be called, one signed POST request, and the thread that sends deliveries."""
