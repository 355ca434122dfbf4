"""What is learned and by which step: networks, likelihoods, the inner gradient step, the meta-trained prior."""
