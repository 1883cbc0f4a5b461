"""What outlives a request: the only folder that imports redis."""
