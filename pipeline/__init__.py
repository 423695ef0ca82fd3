"""Frames in, fused frames out: time, geometry and colour; no network."""
