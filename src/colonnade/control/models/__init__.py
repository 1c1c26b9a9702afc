"""Where models come from: fetched, examined, cached, and loaded into servers of many models."""
