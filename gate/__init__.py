"""Floodgate: an edge-aware traffic gate and virtual waiting room."""

__version__ = "0.1.0"
