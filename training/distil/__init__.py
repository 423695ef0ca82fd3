"""Training the light network to draw what a full one draws."""
