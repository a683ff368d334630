"""Drawing on request: what is asked, the cache of drawn images, the sampler's client, plots."""
