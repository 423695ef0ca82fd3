"""Other networks, made small and trained by us, so that tables and videos can show them beside ours."""
