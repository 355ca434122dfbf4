"""Changes within an episode for any Gymnasium environment."""
