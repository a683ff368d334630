"""The record of jobs: their database, storage, leases and queue, and the relay that keeps them moving."""
