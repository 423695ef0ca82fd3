"""Training through the fusion: the fused picture itself is judged, not only what is rebuilt of the sources."""
