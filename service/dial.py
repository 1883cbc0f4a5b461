"""Which λ2 may be asked of a bundle, and in what words others are refused."""

from causalrec.manifest import Manifest
from service.experiments.checks import Range


def dial(manifest: Manifest) -> Range:
    """The λ2 that the bundle can be asked for; only 0 where its model cannot be debiased, and why."""
    return Range(manifest.lambda2.minimum, manifest.lambda2.maximum, manifest.model.undebiasable)


def refused(limits: Range, otherwise: str) -> str:
    """What is wrong with a λ2 beyond the range, and the way out: `otherwise`, unless the model cannot be debiased."""
    if limits.why is None:
        return otherwise
    return f"must be 0 here: {limits.why}; leave it out, or serve a bundle of another model"
