"""Control: agents, the episode loop, training on policy, and the records they leave."""
