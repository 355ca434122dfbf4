"""Every kind of prior behind one door: files, the priors that ship with the package, and priors for streams."""
