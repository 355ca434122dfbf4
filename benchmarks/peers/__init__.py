"""What is timed of other libraries; imported in their own environments, where mole is not installed."""
