"""What every process of the service needs: settings, logs, child processes, limits."""
