"""Spaces: what a trial is made of, how a user's entries come in, what trial 0 is."""

import json
import warnings
from typing import ClassVar

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vdn_forecast import AREVE, ARVAE, EVE, AutoEVE
from vdn_forecast._compat import describe_arguments
from vdn_forecast.search import AUTOS, AutoVariational
from vdn_forecast.search.default_space import QUIET, default_space
from vdn_forecast.search.sampler import SAMPLERS, SearchSampler, nearest
from vdn_forecast.search.spaces import Space

H = 12
NAMED = (
    *("kl_weight", "kl_min", "kl_width", "band_target", "band_width", "band_spread", "band_weight", "control"),
    *("sigma", "sigma_init", "latent_dim", "n_units", "depth", "hidden_size", "learning_rate", "dropout", "objective"),
)
SMALL = {"n_units": 4, "hidden_size": 4, "head_size": 4, "input_size": 4}
SMALL_OF = {
    EVE: SMALL,
    AREVE: {**SMALL, "graph_degree": 2},
    ARVAE: {**{name: value for name, value in SMALL.items() if name != "n_units"}, "latent_dim": 4},
}


def drawn(space, seed: int, number: int = 5):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = [study.ask() for _ in range(number)][-1]
    return space.suggest(trial), trial


def test_default_space_holds_what_is_searched_and_native_distributions():
    space = default_space(EVE, H)
    assert set(NAMED) <= set(space.dimensions)
    assert set(NAMED) <= set(AutoEVE.default_config)
    assert isinstance(AutoEVE.default_config["kl_weight"], FloatDistribution)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), cls=st.sampled_from(sorted(SMALL_OF, key=lambda cls: cls.__name__)))
def test_every_draw_builds_a_model(seed, cls):
    space = default_space(cls, H).overridden(SMALL_OF[cls])
    arguments, trial = drawn(space, seed)
    assert not {"kl_width", "band_width"} & set(arguments)
    model = cls(h=H, **arguments)
    if "kl_min" in trial.params:
        assert arguments["kl_max"] == arguments["kl_min"] + trial.params["kl_width"]
    held = arguments["control"] != "off"
    assert ("band_target" in trial.params) == held  # under "off" another band would only be another ruler
    assert ("kl_min" in trial.params) == (arguments["control"] in ("homeo", "projection"))
    assert model.hparams["control"] == arguments["control"]


@pytest.mark.parametrize("auto", AUTOS, ids=lambda auto: auto.__name__)
def test_trial_0_is_the_default_configuration(auto):
    cls = auto.model_class
    spelt_out = {} if cls is EVE else {"control": "off"}  # what None stands for
    first, default = (
        json.loads(describe_arguments(cls(h=H, **arguments)))
        for arguments in (default_space(cls, H).first(), {"input_size": 3 * H, **spelt_out, **QUIET})
    )
    filled = {name: value for name, value in getattr(cls, "DEFAULTS", {}).items() if default[name] is None}
    assert first == default | {name: first[name] for name in filled}
    assert all(first[name] in (None, value) for name, value in filled.items())


def test_spaces_of_trajectories_hold_what_moves_them():
    local, whole = default_space(AREVE, H).dimensions, default_space(ARVAE, H).dimensions
    assert {"phi_init", "lookback_weight", "graph", "n_units"} <= set(local)
    assert {"phi_init", "lookback_weight", "latent_dim"} <= set(whole)
    assert not {"graph", "n_units", "depth"} & set(whole)
    assert whole["latent_dim"].distribution.choices == (16, 32, 64, 128)
    assert "phi_init" not in default_space(EVE, H).dimensions


@given(
    low=st.floats(-5, 5),
    width=st.floats(0, 5),
    default=st.floats(-20, 20),
    step=st.sampled_from([None, 0.25]),
)
def test_a_default_is_brought_into_the_users_distribution(low, width, default, step):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna shortens a range that its steps do not fill
        distribution = FloatDistribution(low, low + width, step=step)
    value = nearest(distribution, default)
    assert distribution.low <= value <= distribution.high
    if step is None and distribution.low <= default <= distribution.high:
        assert value == default
    whole = nearest(IntDistribution(2, 11, step=3), round(default))
    assert whole in (2, 5, 8, 11)
    assert nearest(CategoricalDistribution(("a", "b")), "b") == "b"
    assert nearest(CategoricalDistribution(("a", "b")), "c") == "a"


def test_a_partial_config_overrides_by_name():
    entries = {
        "kl_weight": FloatDistribution(0.5, 1.0),
        "n_units": 32,
        "activation": CategoricalDistribution(("gelu", "relu")),
        "kl_max": 0.4,
        "max_steps": 50,
    }
    space = default_space(EVE, H).overridden(entries)
    assert "n_units" not in space.dimensions
    assert "kl_width" not in space.dimensions  # kl_max stands for it
    seen = [drawn(space, seed) for seed in range(30)]
    assert all(0.5 <= arguments["kl_weight"] <= 1 for arguments, _ in seen)
    assert {arguments["activation"] for arguments, _ in seen} == {"gelu", "relu"}
    assert all(arguments["kl_max"] == 0.4 and arguments["max_steps"] == 50 for arguments, _ in seen)
    assert all("learning_rate" in trial.params for _, trial in seen)
    first = space.first()
    assert first["kl_weight"] == 0.5  # the default, .001, brought into the user's space
    assert first["activation"] == "gelu"


def test_a_users_dimension_is_drawn_whatever_the_regime():
    space = default_space(EVE, H).overridden({"control": "off", "band_target": FloatDistribution(0.1, 0.2)})
    assert "band_target" in drawn(space, 0)[1].params


def test_a_function_overrides_by_name_and_may_compute():
    def config(trial):
        low = trial.suggest_float("low", 0.01, 0.1)
        return {"kl_min": low, "kl_max": 2 * low + 0.1, "n_units": 8}

    space = default_space(EVE, H).overridden(config)
    arguments, trial = drawn(space, 1)
    assert arguments["kl_max"] == 2 * trial.params["low"] + 0.1
    assert arguments["n_units"] == 8
    assert "n_units" not in trial.params
    assert "kl_weight" in trial.params
    assert space.described()["function"].endswith("config")


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"kl_wieght": 0.1}, ValueError, "kl_wieght"),
        ({"kl_wieght": FloatDistribution(0, 1)}, ValueError, "kl_wieght"),
        (lambda trial: {"kl_wieght": trial.suggest_float("x", 0, 1)}, ValueError, "kl_wieght"),
        ({"h": 3}, ValueError, "'h' is not allowed"),
        ({"loss": None}, ValueError, "'loss' is not allowed"),
        ({"kl_width": 0.1, "kl_max": 0.3}, ValueError, "'kl_width' and 'kl_max'"),
        (lambda trial: {"kl_min": trial.suggest_float("kl_min", 0.3, 0.1)}, ValueError, "low"),
        (lambda trial: trial.suggest_float("kl_min", 0, 1), ValueError, "must return a mapping"),
        (lambda trial: {"kl_min": trial.nothing}, ValueError, "nothing"),
        (3, TypeError, "config=3"),
        (dict.fromkeys(default_space(EVE, H).dimensions, 1), ValueError, "empty"),
    ],
)
def test_bad_spaces_are_refused(config, error, match):
    with pytest.raises(error, match=match):
        default_space(EVE, H).overridden(config)
    with pytest.raises(error, match=match):
        AutoEVE(h=H, config=config)


def test_what_the_model_refuses_is_refused_before_any_training():
    with pytest.raises(ValueError, match=r"band_target=-1"):
        AutoEVE(h=H, config={"band_target": -1.0, "control": "homeo"})
    with pytest.raises(ValueError, match=r"kl_min=0\.5"):
        AutoEVE(h=H, config={"kl_min": 0.5, "kl_max": 0.3})


def test_described_spaces_tell_searches_apart():
    base = default_space(EVE, H)
    assert base.described() == default_space(EVE, H).described()
    for config in ({"n_units": 32}, {"kl_weight": FloatDistribution(0.1, 1)}, {"optimizer": optuna.Trial}):
        assert base.overridden(config).described() != base.described()


def test_draws_depend_on_seed_and_place_alone():
    """Also where trials were drawn in another order by another process."""
    space = default_space(EVE, H)

    def sample(seed: int, place: int):
        study = optuna.create_study(sampler=SearchSampler(seed, [space.defaults()], lambda number: place))
        trial = study.ask()
        space.suggest(trial)
        return trial.params

    assert sample(1, 3) == sample(1, 3)
    assert sample(1, 3) != sample(1, 4)
    assert sample(1, 3) != sample(2, 3)
    assert sample(1, 0) == sample(2, 0)


@pytest.mark.parametrize("place", range(4))
def test_none_is_a_default_where_it_may_be_chosen(place):
    choices = [0.15, 0.3, 0.6]
    choices.insert(place, None)
    space = Space(EVE, {}).overridden({"mean_bound": CategoricalDistribution(choices)})
    assert space.first() == {"mean_bound": None}


def test_the_first_trials_may_be_given():
    space = default_space(EVE, H)
    given_ = [{"kl_weight": 0.01, "control": "homeo", "band_target": 0.5}, {"kl_weight": 9.0}]
    sampler = SearchSampler(1, given_, lambda number: number, SAMPLERS["random"])
    study = optuna.create_study(sampler=sampler)
    trials = [study.ask() for _ in range(3)]
    arguments = [space.suggest(trial) for trial in trials]
    assert arguments[0].items() >= given_[0].items()
    assert arguments[1]["kl_weight"] == 0.1  # brought into the range
    assert arguments[2]["kl_weight"] not in (0.01, 0.1)


def test_a_random_search_draws_the_same_whatever_was_found():
    space = default_space(EVE, H)

    def drawn_after(value: float) -> dict:
        study = optuna.create_study(sampler=SearchSampler(1, [space.defaults()], lambda n: n, SAMPLERS["random"]))
        for _ in range(3):
            trial = study.ask()
            space.suggest(trial)
            study.tell(trial, value)
        return study.trials[2].params

    assert drawn_after(1.0) == drawn_after(-5.0)


def test_another_class_has_its_own_default_configuration():
    """Of a class whose signature leaves defaults open, and lacks arguments."""

    class Other(EVE):
        DEFAULTS: ClassVar = {"band_target": 7.0}

        def __init__(self, h, input_size, n_units=48, kl_weight=3.0, band_target=None, control="off", **more):
            super().__init__(h, input_size, n_units=n_units, kl_weight=kl_weight, control=control, **more)

    space = default_space(Other, H)
    assert set(space.dimensions) == {"n_units", "kl_weight", "band_target", "control"}
    assert (space.first()["n_units"], space.first()["kl_weight"]) == (48, 3.0)
    assert space.dimensions["band_target"].default == 7.0
    assert space.dimensions["band_target"].distribution.high == 7.0

    class AutoOther(AutoVariational):
        model_class = Other

    assert set(AutoOther.default_config) == {"input_size", *space.dimensions}


def test_objective_is_not_searched_beside_the_users_loss():
    assert "objective" not in default_space(EVE, H, own_loss=True).dimensions
