"""The loop of `mole stream`: rows from a file or a pipe, predictions, a digest, and a run that can go on."""
