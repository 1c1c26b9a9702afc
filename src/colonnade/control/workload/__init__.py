"""What an InferenceService is made of, for all rooms above: its components and their revisions, sources, claims,
ports, and what a pod says of itself."""
