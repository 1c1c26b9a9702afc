"""The gateway as the control plane sees it: its processes, what they are told, and what they tell."""
