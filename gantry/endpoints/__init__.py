"""The requests to the service, one class and one file for each noun. `gantry.client.Client` joins them."""
