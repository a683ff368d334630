"""Images on request: the plan of a request, the cache of drawn images, the sampler's client, and plots."""
