"""The server: HTTP around the registered model, with batches of concurrent requests and a swap without a pause."""
