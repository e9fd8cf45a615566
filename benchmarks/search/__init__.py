"""What pruning saves, and which way of searching gets further in the same number of training steps."""
