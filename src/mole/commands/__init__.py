"""The commands of ``mole``, one file each; `mole.cli` puts them together."""
