"""The kubelet's part: from a Pod to a process on the platform, and back to the Pod's status."""
