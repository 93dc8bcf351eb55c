"""Readers of model formats: each takes the bytes of one file, says what they say, and runs nothing of them."""
