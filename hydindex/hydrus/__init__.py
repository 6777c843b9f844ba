"""The edge to Hydrus: its Client API, spoken over HTTP."""
