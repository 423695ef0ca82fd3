"""Archives: many pairs of files, cut into chunks, fused by many processes, and joined as if fused in one piece."""
