"""Geometry and clock offset of the two cameras."""
