"""The runtime that a model was trained in, as a recorded, comparable, rebuildable thing."""

__version__ = "0.1.0"
