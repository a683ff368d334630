"""Parts that every process of the service uses: settings, logs, child processes, limits."""
