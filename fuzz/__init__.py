"""Hostile files for every reader of the package: `make fuzz`; docs/reliability-security.md has the counts."""
