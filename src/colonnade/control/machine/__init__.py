"""The one machine: what there is, who holds which part of it, and who makes room for whom."""
