"""Which runtime serves a model, and what its container becomes for one service."""
