"""Fusion metrics, one a file: numpy and OpenCV only."""
