"""What must survive: checked atomic files, generations of checkpoints, locks, and processes that end in order."""
