"""How many replicas a revision has: what is measured of it, and the shell round `autoscale`."""
