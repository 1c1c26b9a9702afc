"""InferenceGraph: from a stored object to what the gateway executes, and its status."""
