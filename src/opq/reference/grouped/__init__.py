"""The grouped code stream of docs/format.md: groups of codes are counted, then placed, then given magnitudes and signs."""
