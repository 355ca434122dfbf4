"""What is hidden in an episode and when it changes."""
