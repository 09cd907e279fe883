"""From a scan to the canvas of the network, and from a dataset to training records."""
