"""The six-legged crawler whose legs fail."""
