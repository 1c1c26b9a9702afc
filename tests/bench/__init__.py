"""What the benchmark makes of its figures. That it measures rightly only a run shows."""
