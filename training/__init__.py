"""Torch: network, loss, data, training, export; and the metrics."""
