"""The learning core: networks, training, quality and health of GANs. It knows no job, no database and no HTTP."""
