"""Two cameras in, one fused stream out, for days: sources, pairing, the line, what it tells of itself."""
