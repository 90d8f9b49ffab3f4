"""Every check of every chapter: references pass, each mistake gets its own hint, nothing raises.

The files test_checks_NN.py compare the references of a chapter with others' code.
"""

import importlib
import math
import pkgutil
import re

import numpy as np
import pytest
import torch
from scipy import special
from torch import distributions as td
from torch.nn import functional as F

from vae_tutorial import checks
from vae_tutorial.checks.base import CASES, Exercise, Mistake
from vae_tutorial.checks.quiz import Lines, Number, Order
from vae_tutorial.distributions import kl_standard_normal

ALL = [getattr(checks, name) for name in checks.__all__ if name[0].islower()]
EXERCISES = [check for check in ALL if isinstance(check, Exercise)]
NUMBERS = [check for check in ALL if isinstance(check, Number)]
SEEDS = ["0", "a secret"]
MISTAKES = [(e, m) for e in EXERCISES for m in e.mistakes]


def case_name(value):
    return (
        value.name if isinstance(value, checks.Check) else str(getattr(value, "hint", value))[:50]
    )


# ------------------------------------------------------------------ references and mistakes
def test_every_check_is_offered_under_its_own_name():
    assert len({check.name for check in ALL}) == len(ALL) > 15
    assert len(EXERCISES) > 11
    for check in ALL:
        assert getattr(checks, check.name) is check
        assert repr(check) == f"checks.{check.name}"
    for module in pkgutil.iter_modules(checks.__path__, "vae_tutorial.checks."):
        for value in vars(importlib.import_module(module.name)).values():
            assert not isinstance(value, checks.Check) or value in ALL


@pytest.mark.parametrize("exercise", EXERCISES, ids=case_name)
def test_the_reference_passes(exercise, seed):
    result = exercise.check(exercise.reference)
    assert result.passed, result.hint
    assert result.hint == exercise.success


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=case_name)
def test_each_mistake_gets_its_own_hint(exercise, mistake, seed):
    result = exercise.check(mistake.wrong)
    assert not result.passed
    assert result.hint == mistake.hint


@pytest.mark.parametrize("exercise", EXERCISES, ids=case_name)
def test_hints_differ_and_the_commonest_mistakes_are_named(exercise):
    hints = [mistake.hint for mistake in exercise.mistakes]
    assert len(set(hints)) == len(hints)
    assert len(hints) >= 3
    assert all(hint[0] == hint[0].lower() or hint.startswith("KL") for hint in hints)


def test_another_seed_draws_other_inputs(monkeypatch):
    draws = []
    for value in SEEDS:
        monkeypatch.setenv("VAE_TUTORIAL_CHECK_SEED", value)
        draws.append(checks.kl_standard_normal.inputs()[0][0].sum().item())
    monkeypatch.delenv("VAE_TUTORIAL_CHECK_SEED")
    assert len(set(draws)) == len(SEEDS)
    assert checks.kl_standard_normal.inputs()[0][0].sum().item() == draws[0]  # 0 is the default


def test_values_learned_by_heart_fail_on_another_seed(monkeypatch):
    known = iter(
        [checks.kl_standard_normal.reference(*i) for i in checks.kl_standard_normal.inputs()]
    )
    monkeypatch.setenv("VAE_TUTORIAL_CHECK_SEED", "secret")
    assert not checks.kl_standard_normal.check(lambda mu, logvar: next(known)).passed


# ------------------------------------------------------------- the references, independently
@pytest.mark.parametrize("inputs", checks.kl_standard_normal.inputs()[:5])
def test_kl_reference_agrees_with_torch(inputs):
    mu, logvar = inputs
    q = td.Independent(td.Normal(mu, (0.5 * logvar).exp()), 1)
    p = td.Independent(td.Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    torch.testing.assert_close(
        checks.kl_standard_normal.reference(mu, logvar), td.kl_divergence(q, p)
    )


@pytest.mark.parametrize("inputs", checks.log_density.inputs()[:5])
def test_log_density_reference_agrees_with_torch(inputs):
    value, loc, scale = inputs
    rows = [td.Normal(loc[b], scale[b]).log_prob(value[b]).sum() for b in range(len(loc))]
    torch.testing.assert_close(checks.log_density.reference(*inputs), torch.stack(rows))


def test_log_density_is_drawn_square_and_not_square():
    square = {value.shape[0] == value.shape[1] for value, _, _ in checks.log_density.inputs()}
    assert square == {True, False}


def test_bits_per_dimension_reference():
    # 784 ln 2 nats are one bit for each of 784 pixels.
    assert checks.bits_per_dimension.reference(784 * math.log(2), 784) == pytest.approx(1.0)


@pytest.mark.parametrize("inputs", checks.elbo_closed_form.inputs()[:5])
def test_closed_form_elbo_agrees_with_quadrature(inputs):
    mu, sigma, w, s, x = inputs
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    z = mu + sigma * torch.tensor(nodes)
    integrand = (
        td.Normal(w * z, s).log_prob(x) + td.Normal(0.0, 1.0).log_prob(z)
        - td.Normal(mu, sigma).log_prob(z)
    )  # fmt: skip
    exact = (torch.tensor(weights) * integrand).sum() / math.sqrt(2 * math.pi)
    torch.testing.assert_close(checks.elbo_closed_form.reference(*inputs), exact)


@pytest.mark.parametrize("exercise", [checks.estimator_a, checks.estimator_b], ids=case_name)
def test_both_estimators_average_to_the_closed_form(exercise):
    from vae_tutorial.checks.elbo import AVERAGE, SPREAD

    for inputs in exercise.inputs()[:5]:
        model, x, q, _ = inputs
        seen = exercise._look(exercise.reference, inputs)
        torch.testing.assert_close(seen[AVERAGE], model.elbo(x, q), rtol=1e-4, atol=1e-4)
        if exercise is checks.estimator_a:
            assert (seen[SPREAD] < 1e-3).all()  # the value of A at the posterior: variance 0
        else:
            assert (seen[SPREAD] > 0.05).all()


@pytest.mark.parametrize("inputs", checks.negative_elbo.inputs()[:5])
def test_negative_elbo_reference_agrees_with_torch(inputs):
    logits, x, mu, logvar = inputs
    log_likelihood = (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(-1)
    kl = td.kl_divergence(td.Normal(mu, (0.5 * logvar).exp()), td.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(
        checks.negative_elbo.reference(*inputs), (kl - log_likelihood).mean()
    )


@pytest.mark.parametrize("inputs", checks.importance_weighted_bound.inputs()[:5])
def test_importance_weighted_reference_agrees_with_float64(inputs):
    (log_w,) = inputs
    shift = log_w.double().amax(0)
    exact = (log_w.double() - shift).exp().mean(0).log() + shift
    reference = checks.importance_weighted_bound.reference(log_w)
    torch.testing.assert_close(reference.double(), exact, rtol=1e-5, atol=1e-4)


def test_log_p_x_reference_agrees_with_scipy_where_every_float_underflows():
    for model, x, q, z in checks.log_p_x.inputs()[:5]:
        logits = (z @ model.weight + model.bias).double()
        log_p = td.Bernoulli(logits=logits).log_prob(x.double()).sum(-1)
        assert (log_p.max() < -760).all()  # exp() of it is 0 in float64 too
        ratio = td.Normal(0.0, 1.0).log_prob(z) - td.Normal(q.loc, q.scale).log_prob(z)
        log_w = log_p + ratio.double().sum(-1)
        exact = special.logsumexp(log_w.numpy(), 0) - math.log(len(z))
        reference = checks.log_p_x.reference(model, x, q, z)
        np.testing.assert_allclose(reference, exact, rtol=1e-5, atol=5e-3)


def test_double_precision_does_not_save_a_plain_mean():
    def doubled(model, x, q, z):
        p, prior = model.decode(z).log_prob(x), model.prior.log_prob(z)
        return (p + prior - q.log_prob(z)).double().exp().mean(0).log()

    assert not checks.log_p_x.check(doubled).passed


# --------------------------------------------------------------------- other right solutions
def test_other_ways_to_be_right_pass():
    right = [
        (checks.kl_standard_normal, lambda mu, logvar: -0.5 * torch.sum(
            1 + logvar - mu.pow(2) - logvar.exp(), dim=1)),
        (checks.kl_standard_normal, lambda m, v: td.kl_divergence(
            td.Normal(m, torch.exp(v / 2)), td.Normal(0.0, 1.0)).sum(-1)),
        (checks.kl_standard_normal, lambda mu, logvar: checks.kl_standard_normal.reference(
            mu.double(), logvar.double())),
        (checks.bits_per_dimension, lambda nats, D: float(nats) / D / math.log(2)),
        (checks.bits_per_dimension, lambda nats, D: np.float64(nats) / D * np.log2(np.e)),
        (checks.reparameterize, lambda mu, logvar: mu + (logvar / 2).exp() * torch.randn_like(mu)),
        (checks.reparameterize, lambda mu, logvar: td.Normal(mu, (logvar / 2).exp()).rsample()),
        (checks.reparameterize, lambda mu, logvar, generator=None: mu - logvar.exp().sqrt()
            * torch.empty_like(mu).normal_(generator=generator)),
        (checks.negative_elbo, lambda logits, x, mu, logvar: (
            F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            - 0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())) / len(x)),
        (checks.evaluation_loss, lambda model, x, generator: torch.stack([
            (kl_standard_normal(q) - model.decode(q.rsample()).log_prob(x)).mean()
            for q in [model.encode(x)]]).mean()),
        (checks.importance_weighted_bound, lambda log_w: torch.log(
            torch.exp(log_w - log_w.amax(0)).mean(0)) + log_w.amax(0)),
        (checks.elbo_closed_form, lambda mu, sigma, w, s, x: float(
            -0.5 * math.log(2 * math.pi * s**2) - ((x - w * mu)**2 + (w * sigma)**2) / (2 * s**2)
            - 0.5 * (mu**2 + sigma**2 - 1) + math.log(sigma))),
    ]  # fmt: skip
    for exercise, solution in right:
        assert exercise.check(solution) == checks.Result(True, exercise.success)


# --------------------------------------------------------------- whatever the function does
class Hostile:
    """Nothing about it can be read."""

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__

    def __float__(self):
        raise RuntimeError("no")


class BrokenError(Exception):
    def __str__(self):
        raise RuntimeError("no message")


def raises(error):
    def function(*args, **keywords):
        raise error

    return function


WHATEVER = {
    "nothing": lambda *a, **k: None,
    "ellipsis": lambda *a, **k: ...,
    "not implemented": raises(NotImplementedError()),
    "exception": raises(ValueError("a message")),
    "exit": raises(SystemExit(1)),
    "base exception": raises(BaseException("low")),
    "broken exception": raises(BrokenError()),
    "recursion": raises(RecursionError("too deep")),
    "text": lambda *a, **k: "0.5",
    "list": lambda *a, **k: [1.0, 2.0],
    "tuple": lambda *a, **k: (torch.ones(2), torch.ones(2)),
    "dictionary": lambda *a, **k: {},
    "array": lambda *a, **k: np.ones(3),
    "function": lambda *a, **k: max,
    "object": lambda *a, **k: Hostile(),
    "boolean": lambda *a, **k: True,
    "whole numbers": lambda *a, **k: torch.ones(3, dtype=torch.int64),
    "complex": lambda *a, **k: torch.ones(3, dtype=torch.complex64),
    "odd shape": lambda *a, **k: torch.ones(3, 1, 4, 1, 5),
    "empty": lambda *a, **k: torch.ones(0),
    "NaN": lambda *a, **k: math.nan,
    "infinity": lambda *a, **k: torch.tensor(math.inf),
    "zero": lambda *a, **k: 0,
    "the first input": lambda *a, **k: a[0],
    "too many parameters": lambda a, b, c, d, e, f, g: a,
    "no parameters": lambda: torch.ones(3),
    "nothing handed in": None,
    "ellipsis handed in": ...,
    "number handed in": 3.0,
    "text handed in": "my_kl",
    "tensor handed in": torch.ones(4),
    "hostile handed in": Hostile(),
    "built in": max,
}


@pytest.mark.parametrize("what", WHATEVER)
@pytest.mark.parametrize("check", ALL, ids=case_name)
def test_a_check_prints_one_line_and_never_raises(check, what, capsys):
    assert check(WHATEVER[what]) is None
    first = capsys.readouterr()
    assert re.fullmatch(rf"❌ {check.name}: \S[^\n]*\n", first.out)
    assert first.err == ""
    assert len(first.out) < 400
    assert "0x7" not in first.out
    assert "Error: \n" not in first.out


@pytest.mark.parametrize("check", EXERCISES, ids=case_name)
def test_a_verdict_is_the_same_when_asked_again(check):
    zero = [check.check(WHATEVER["zero"]) for _ in range(2)]
    assert zero[0] == zero[1]


KL = checks.kl_standard_normal


def right_kl(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(-1)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (WHATEVER["nothing"], "returned nothing yet (did you forget `return`?)"),
        (WHATEVER["ellipsis"], "returned `...`"),
        (WHATEVER["not implemented"], "not written yet"),
        (WHATEVER["exception"], "raised ValueError in its line 2: a message"),
        (WHATEVER["exit"], "raised SystemExit"),
        (WHATEVER["broken exception"], "raised BrokenError"),
        (WHATEVER["text"], "returned text ('0.5'), not a tensor"),
        (WHATEVER["tuple"], "returned 2 values (a tuple)"),
        (WHATEVER["array"], "returned a NumPy array"),
        (WHATEVER["function"], "did you forget to call it?"),
        (WHATEVER["whole numbers"], "dtype torch.int64"),
        (WHATEVER["number handed in"], "hand in the function itself"),
        (WHATEVER["tensor handed in"], "without calling it; this is a tensor of shape (4,)"),
        (WHATEVER["no parameters"], "called with (mu, logvar), but it takes ()"),
        (lambda mu, logvar: right_kl(mu, logvar)[:, None], "1), but shape ("),
        (lambda mu, logvar: right_kl(mu, logvar) * math.nan, "got nan"),
        (lambda mu, logvar: right_kl(mu, logvar) + 1, "expected "),
        (lambda mu, logvar: mu.add_(1).sum(-1), "changes its input `mu` in place"),
        (lambda mu, logvar: right_kl(mu, logvar).detach(), "no gradient reaches `mu`"),
        (lambda mu, logvar: right_kl(mu, logvar.detach()), "no gradient reaches `logvar`"),
        (lambda mu, logvar: (right_kl(mu, logvar) - mu.sum(-1) + mu.detach().sum(-1)),
         "gradient with respect to `mu` is not"),
        (lambda mu, logvar: right_kl(mu, logvar).numpy(), "raised RuntimeError"),
        (lambda mu, logvar: right_kl(mu, logvarr), "NameError"),
        (lambda mu, logvar: mu @ logvar, "raised RuntimeError"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_explained(function, words):
    result = KL.check(function)
    assert not result.passed
    assert words in result.hint


def test_a_changed_input_is_named_even_where_the_value_is_right():
    def function(mu, logvar):
        value = right_kl(mu.clone(), logvar.clone())
        mu.zero_()
        return value

    assert "changes its input `mu`" in KL.check(function).hint


def test_a_changed_model_is_named_too():
    def function(model, x, q, z):
        q.loc.zero_()
        return checks.estimator_a.reference(model, x, q, z)

    assert "changes its input `q`" in checks.estimator_a.check(function).hint


def test_the_inputs_of_the_notebook_are_never_touched():
    calls = []

    def function(mu, logvar):
        calls.append(mu)
        mu.zero_()

    KL.check(function)
    assert (KL.inputs()[0][0] != 0).all()


def test_a_counter_example_shows_inputs_and_both_values():
    hint = checks.bits_per_dimension.check(lambda nats, D: nats / D / math.log(2) + 1).hint
    number = r"-?\d+(\.\d+)?"
    assert re.fullmatch(
        rf"for nats = {number}, D = {number}: expected {number}, got {number}", hint
    )


def own_a(model, x, q, z):
    return checks.estimator_a.reference(model, x, q, q.sample(len(z)))


def own_b(model, x, q, z):
    again = torch.Generator().manual_seed(4)
    return checks.estimator_b.reference(model, x, q, q.sample(len(z), generator=again))


def without_z(model, x, q, z):
    return kl_standard_normal(q)


@pytest.mark.parametrize("exercise", [checks.estimator_a, checks.estimator_b], ids=case_name)
@pytest.mark.parametrize("wrong", [own_a, own_b, without_z])
def test_own_draws_in_place_of_the_given_ones_are_named(exercise, wrong, seed):
    from vae_tutorial.checks.elbo import OWN_DRAWS

    assert exercise.check(wrong) == checks.Result(False, OWN_DRAWS)


def test_log_weights_are_far_apart_within_and_between_batches():
    """Exercise 04.5 needs all three: near 0, near −1000, and both in one batch."""
    ranges = {
        (log_w.min() < -900, log_w.max() < -900)
        for (log_w,) in checks.importance_weighted_bound.inputs()
    }
    assert {tuple(map(bool, r)) for r in ranges} == {(False, False), (True, True), (True, False)}


def test_a_biased_estimator_is_told_so_in_words():
    from vae_tutorial.checks.elbo import AVERAGE

    def lucky(model, x, q, z):  # right on the first sample set, wrong on the exact average
        value = checks.estimator_a.reference(model, x, q, z)
        return value + (1.0 if len(z) == 4 else 0.0)

    assert AVERAGE in checks.estimator_a.check(lucky).hint


def test_two_mistakes_in_the_noise_are_told_by_what_is_seen():
    def function(mu, logvar, generator=None):
        return mu + 3 * logvar.exp() * torch.randn(mu.shape, generator=generator)

    hint = checks.reparameterize.check(function).hint
    assert "standard deviation of z: expected" in hint


def test_the_reader_keeps_his_random_numbers_his_warnings_and_his_gradients():
    import warnings

    torch.manual_seed(3)
    before = torch.get_rng_state()

    def function(mu, logvar):
        torch.manual_seed(0)
        torch.randn(5)
        warnings.warn("something", stacklevel=1)
        return right_kl(mu, logvar)

    with torch.no_grad():
        assert KL.check(function).passed
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_keyboard_interrupt_still_stops():
    with pytest.raises(KeyboardInterrupt):
        KL.check(raises(KeyboardInterrupt()))


def test_addresses_never_reach_a_message():
    result = KL.check(raises(ValueError("<object at 0x7f00deadbeef>")))
    assert "0x…" in result.hint
    assert "dead" not in result.hint


def test_the_count_of_cases_is_the_one_printed():
    assert len(KL.inputs()) == CASES
    assert f"all {CASES} random cases" in KL.success


def test_the_first_mistake_that_fits_is_named_and_a_mistake_may_raise():
    def fails(a):
        raise ValueError

    exercise = Exercise(
        "e", lambda a: a, lambda d: (d.number(1, 2),),
        [Mistake("raises", fails), Mistake("square", lambda a: a**2)],
    )  # fmt: skip
    assert exercise.check(lambda a: a * a).hint == "square"
    assert exercise.check(raises(ValueError("other words"))).hint == "raises"
    assert "TypeError" in exercise.check(raises(TypeError("x"))).hint


# --------------------------------------------------------------------------------- quizzes
@pytest.mark.parametrize("stub", [..., None, "", "  "])
@pytest.mark.parametrize("quiz", [q for q in ALL if not isinstance(q, Exercise)], ids=case_name)
def test_a_stub_has_no_answer_yet(quiz, stub):
    assert quiz.check(stub) == checks.Result(False, "no answer yet")


@pytest.mark.parametrize("quiz", NUMBERS, ids=case_name)
def test_every_known_wrong_number_has_its_hint(quiz):
    hints = [slip.hint for slip in quiz.slips]
    assert len(set(hints)) == len(hints)
    for slip in quiz.slips:
        assert quiz.check(slip.value) == checks.Result(False, slip.hint)
    for right in (quiz.expected, str(quiz.expected), torch.tensor(quiz.expected), [quiz.expected]):
        assert quiz.check(right) == checks.Result(True, quiz.success)
    assert quiz.check(quiz.expected * 1.3).hint.startswith("too large: ")
    assert quiz.check(quiz.expected * 0.93).hint.startswith("too small: ")
    for unreadable in ("a lot", True, [1, 2], math.nan, math.inf, 1j, Hostile()):
        assert not quiz.check(unreadable).passed


def test_the_numbers_are_what_the_code_of_the_chapter_does():
    assert checks.initial_loss.expected == pytest.approx(543.427, abs=1e-3)
    # The unreduced loss of exercise 07.5 against the right one: the gradients' ratio is the factor.
    B, D = 5, 12
    bce, kl = torch.ones(B, D, requires_grad=True), torch.ones(B, requires_grad=True)
    unreduced = torch.autograd.grad((bce + kl.sum()).mean(), [bce, kl])
    right = torch.autograd.grad((bce.sum(-1) + kl).mean(), [bce, kl])
    ratio = (unreduced[1][0] / unreduced[0][0, 0]) / (right[1][0] / right[0][0, 0])
    assert ratio.item() == pytest.approx(B * D)
    assert checks.unreduced_loss.expected == 128 * 784


RIGHT_ORDER = "D4 B1 E2 G6 A3 F7 C5"


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT_ORDER,
        RIGHT_ORDER.lower().replace(" ", ", "),
        RIGHT_ORDER.replace(" ", ""),
        RIGHT_ORDER.split(),
        ("D", 4, "B1", "E2", "G6", "A3", "F7", "C5"),
        [("D", 4), ("B", 1), ("E", 2), ("G", 6), ("A", 3), ("F", 7), ("C", 5)],
        {"D": 4, "B": 1, "E": 2, "G": 6, "A": 3, "F": 7, "C": 5},
    ],
)
def test_the_order_is_read_in_any_form(answer):
    assert isinstance(checks.derivation_order, Order)
    assert checks.derivation_order.check(answer).passed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("D4 E2", "step 2: line E comes too early: log p(x) already stands outside"),
        ("D B G", "step 3: line G comes too early: the joint has already been split"),
        ("C", "step 1: line C comes too early: it is an inequality"),
        ("D B E A", "step 4: line A comes too early"),
        ("D B E G F", "step 5: line F comes too early"),
        ("B", "step 1: line B comes too early"),
        ("D B H", "step 3: line H does not belong here: it exchanges logarithm and average"),
        ("D B D", "step 3: line D has been used already"),
        ("Z", "step 1: there is no line Z"),
        ("D B E", "right so far, but 4 lines are missing"),
        ("D B E G A F C A", "step 8: line A has been used already"),
        ("D B E G A F", "1 line is missing"),
        ("DBEGAFC", "now write the number of its reason"),
        ("D4 B2 E1 G6 A3 F7 C5", "step 2: line B has another reason: reason 2 takes a constant"),
        ("D3 B1 E2 G6 A4 F7 C5", "step 1: line D has another reason: reason 3 reads an average"),
        ("D4 B1 E2 G6 A3 F7 C9", "there is no reason 9"),
        ([3, 1], "give each line by its letter"),
    ],
)
def test_the_first_wrong_step_is_named(answer, words):
    result = checks.derivation_order.check(answer)
    assert not result.passed
    assert words in result.hint


@pytest.mark.parametrize(
    "answer", [[2, 5, 7], (7, 5, 2), {2, 5, 7}, "2, 5, 7", "2 5 7", 257, "257", ["2", "5", "7"],
               "BEG", "b, e, g", torch.tensor([2, 5, 7]), np.array([2, 5, 7]), [2.0, 5.0, 7.0]]
)  # fmt: skip
def test_lines_are_read_in_any_form(answer):
    assert isinstance(checks.three_errors, Lines)
    assert checks.three_errors.check(answer).passed


@pytest.mark.parametrize("line", [1, 3, 4, 6, 8])
def test_a_right_line_is_defended(line):
    result = checks.three_errors.check([2, line])
    assert result.hint == f"line {line} is right: {checks.three_errors.right[line]}"


def test_missing_errors_are_hinted_without_their_line():
    assert checks.three_errors.check([5, 7]).hint.startswith("2 of 3 found; for the next one ask")
    assert checks.three_errors.check([2]).hint.startswith("1 of 3 found; for the next one ask")
    assert not re.search(r"line \d", checks.three_errors.check([2]).hint)
    assert checks.three_errors.check([9]).hint == "there is no line 9"
    assert "numbers of the lines" in checks.three_errors.check("?").hint


# --------------------------------------------------------------------- as a reader meets it
def test_messages_are_the_same_without_the_shape_hook(reader):
    done = reader(
        "import torch\n"
        "from vae_tutorial import checks\n"
        "checks.kl_standard_normal(lambda mu, logvar: torch.ones(3, 1))\n"
        "checks.estimator_a(lambda model, x, q, z: q.log_prob(x))\n"
        "checks.log_density(lambda value, loc, scale: 'text')\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert "your function returned shape (3, 1), but shape (" in first
    assert "raised ValueError" in second
    assert "returned text ('text')" in third
    assert KL.check(lambda mu, logvar: torch.ones(3, 1)).hint in first


def test_importing_the_checks_changes_no_random_state(reader):
    done = reader(
        "import torch\n"
        "before = torch.get_rng_state()\n"
        "from vae_tutorial import checks\n"
        "print(torch.equal(before, torch.get_rng_state()))\n"
    )
    assert done.stdout == "True\n", done.stderr
