"""From records to trained weights: data, losses, augmentation, optimizer, training loop."""
