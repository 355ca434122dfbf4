"""Mutants that no test can kill, and why: they change nothing that can be observed."""

__all__ = ["EQUIVALENT"]

_PIECES = "the size of the pieces in which a file is read"
_TIE = "two sums of logarithms that are equal to the last bit"
_PATH = "another way to the same numbers, which is faster or slower"
_COPY = "a needless copy: the bytes are the same"
EQUIVALENT: dict[str, str] = {
    "to_bytes: False → True": _COPY,
    "to_bytes: False → True (#2)": _COPY,
    "to_bytes: 1 → 2": "NumPy takes every negative number for the one that it works out",
    "verify: 1 → 2": _PIECES,
    "verify: 20 → 21": _PIECES,
    "module: 1e+30 → 2e+30": "one number beyond all scores is as good as another",
    "Mixture._proposed: log_joint_new > jnp.max(log_joint) + self.margin → "
    "log_joint_new >= jnp.max(log_joint) + self.margin": _TIE,
    "Mixture._scored: 0 → 1": "the window of the likelihood is at least 1, and the larger one counts",
    "Mixture._learned: proposed.scores > best_score → proposed.scores >= best_score": _TIE,
    "Mixture._learned: assigned.responsibilities * learns → assigned.responsibilities / learns": "an infinite weight "
    "makes a step that is not finite, which the guard refuses: nothing is learned all the same",
    "meta_loss: fast is not False → fast is False": _PATH,
    "meta_loss: False → True (#2)": _PATH,
    "meta_loss: one is adapted_loss_mlp → one is not adapted_loss_mlp": _PATH,
    "Rank1Rate.factors: True → False": "rows and columns are as many, since both are made from the same arrays",
    "weighted_mean: 1.0 → 2.5": "what is divided by it is zero",
}
