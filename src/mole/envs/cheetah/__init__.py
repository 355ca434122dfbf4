"""The half-cheetah with motors that fail, and on hilly ground."""
