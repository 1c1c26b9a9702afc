"""What one Python process can answer at most. No servers: without routes, validation, limits, metrics and errors."""
