"""HTTP server for the registered model: it batches concurrent requests and changes the model without a pause."""
