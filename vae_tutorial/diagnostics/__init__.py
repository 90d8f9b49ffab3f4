"""What a trained model says about itself.

`ledger`: where log p(x) goes, active units, bits per dimension. `aggregate`: the mixture of all
encodings against the prior. `paths`: from one code to another, and how likely the way is.
`samples`: are samples like data, and is all of the data among them? `collapse`: which latents the
data can pay for, asked before training, and what a collapsed model is.
"""

from vae_tutorial.diagnostics.aggregate import (
    AggregatePosterior,
    Information,
    KlSplit,
    aggregate_posterior,
    hole_share,
    mutual_information,
    split_kl,
)
from vae_tutorial.diagnostics.collapse import (
    CollapsePrediction,
    CollapseVerdict,
    better_picture,
    collapse_kind,
    critical_kl_weight,
    escape_rate,
    predict_collapse,
)
from vae_tutorial.diagnostics.ledger import (
    ActiveUnits,
    Ledger,
    active_units,
    bits_per_dimension,
    constant_image_cost,
    discrete_bits_per_dimension,
    elbo_ledger,
    grey_entropy,
    refine_posterior,
)
from vae_tutorial.diagnostics.paths import (
    density_path,
    lerp,
    path_cost,
    prior_grid,
    resample,
    slerp,
)
from vae_tutorial.diagnostics.samples import Fidelity, precision_and_coverage

__all__ = [
    "ActiveUnits",
    "AggregatePosterior",
    "CollapsePrediction",
    "CollapseVerdict",
    "Fidelity",
    "Information",
    "KlSplit",
    "Ledger",
    "active_units",
    "aggregate_posterior",
    "better_picture",
    "bits_per_dimension",
    "collapse_kind",
    "constant_image_cost",
    "critical_kl_weight",
    "density_path",
    "discrete_bits_per_dimension",
    "elbo_ledger",
    "escape_rate",
    "grey_entropy",
    "hole_share",
    "lerp",
    "mutual_information",
    "path_cost",
    "precision_and_coverage",
    "predict_collapse",
    "prior_grid",
    "refine_posterior",
    "resample",
    "slerp",
    "split_kl",
]
