"""The commands of ``mole``; `mole.cli` has the table that names them all."""
