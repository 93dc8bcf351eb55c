"""Serve the models of an image over HTTP. It runs with the model's own Python and distributions."""
