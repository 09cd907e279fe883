"""Put scans on the canvas of the network, and convert datasets to training records."""
