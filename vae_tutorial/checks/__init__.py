"""Checks of the exercises: each compares an answer with the reference and with known mistakes.

`checks.kl_standard_normal(my_kl)` prints one line and returns nothing; it never raises, whatever
`my_kl` does. `checks.kl_standard_normal.check(my_kl)` prints nothing and returns a `Result`, for
tests and for grading. The environment variable VAE_TUTORIAL_CHECK_SEED changes the random inputs,
so that an answer learned by heart fails.

>>> kl_standard_normal.check(lambda mu, logvar: (mu**2 + logvar.exp() - logvar - 1).sum(-1)).hint
'the ½ is missing: your value is exactly twice the KL'
"""

from vae_tutorial.checks.autoencoders import (
    autoencoder_slips,
    hole_fraction,
    subspace_angles,
    wiener,
    wiener_error,
)
from vae_tutorial.checks.base import Check, Draw, Exercise, Mistake, Result
from vae_tutorial.checks.collapse import (
    annealed_bugs,
    curve_excess,
    free_bits,
    linear_kl,
    unit_use,
)
from vae_tutorial.checks.conditional import (
    conditional_bound,
    first_objective,
    interval_coverage,
)
from vae_tutorial.checks.elbo import (
    derivation_order,
    elbo_closed_form,
    estimator_a,
    estimator_b,
    importance_weighted_bound,
    three_errors,
)
from vae_tutorial.checks.gaussian import (
    bounded_sigma,
    gaussian_nll,
    kl_weight_of_sigma,
    low_rank_density,
    optimal_sigma,
    wild_sigma,
)
from vae_tutorial.checks.gradients import (
    exact_slope,
    four_errors,
    landing,
    pathwise,
    score_function,
    score_wins,
)
from vae_tutorial.checks.hunt import bug_hunt
from vae_tutorial.checks.inference import (
    inference_slips,
    kl_full_covariance,
    laplace_log_rate,
    mean_field_gap,
    wrong_bump,
)
from vae_tutorial.checks.latent import (
    grid_posterior,
    intractable,
    ppca_log_p_x,
    ppca_posterior_mean,
    prior_draws,
    responsibilities,
    weighted_covariances,
)
from vae_tutorial.checks.pixels import (
    discrete_bits,
    discretized_logistic,
    log_constant,
    squared_error_of_bits,
    stable_bce,
    two_bugs,
)
from vae_tutorial.checks.quiz import Lines, Number, Order
from vae_tutorial.checks.reparameterization import (
    cholesky_head,
    cholesky_kl,
    exponential_path,
    full_draws,
    logistic_path,
)
from vae_tutorial.checks.sheet import living_latents, published_sigma, sheet_log_prob
from vae_tutorial.checks.space import (
    aggregate_covariance,
    information,
    interpolation,
    latent_claims,
    midpoint_length,
)
from vae_tutorial.checks.start import bits_per_dimension, log_density
from vae_tutorial.checks.vae import (
    evaluation_loss,
    initial_loss,
    kl_standard_normal,
    log_p_x,
    negative_elbo,
    reparameterize,
    unreduced_loss,
)

__all__ = [
    "Check",
    "Draw",
    "Exercise",
    "Lines",
    "Mistake",
    "Number",
    "Order",
    "Result",
    "aggregate_covariance",
    "annealed_bugs",
    "autoencoder_slips",
    "bits_per_dimension",
    "bounded_sigma",
    "bug_hunt",
    "cholesky_head",
    "cholesky_kl",
    "conditional_bound",
    "curve_excess",
    "derivation_order",
    "discrete_bits",
    "discretized_logistic",
    "elbo_closed_form",
    "estimator_a",
    "estimator_b",
    "evaluation_loss",
    "exact_slope",
    "exponential_path",
    "first_objective",
    "four_errors",
    "free_bits",
    "full_draws",
    "gaussian_nll",
    "grid_posterior",
    "hole_fraction",
    "importance_weighted_bound",
    "inference_slips",
    "information",
    "initial_loss",
    "interpolation",
    "interval_coverage",
    "intractable",
    "kl_full_covariance",
    "kl_standard_normal",
    "kl_weight_of_sigma",
    "landing",
    "laplace_log_rate",
    "latent_claims",
    "linear_kl",
    "living_latents",
    "log_constant",
    "log_density",
    "log_p_x",
    "logistic_path",
    "low_rank_density",
    "mean_field_gap",
    "midpoint_length",
    "negative_elbo",
    "optimal_sigma",
    "pathwise",
    "ppca_log_p_x",
    "ppca_posterior_mean",
    "prior_draws",
    "published_sigma",
    "reparameterize",
    "responsibilities",
    "score_function",
    "score_wins",
    "sheet_log_prob",
    "squared_error_of_bits",
    "stable_bce",
    "subspace_angles",
    "three_errors",
    "two_bugs",
    "unit_use",
    "unreduced_loss",
    "weighted_covariances",
    "wiener",
    "wiener_error",
    "wild_sigma",
    "wrong_bump",
]
