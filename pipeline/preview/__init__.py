"""The preview page of a live run: one stream of pictures for all viewers, its controls, its numbers, its guard."""
