"""One outside library a file; no decisions."""
