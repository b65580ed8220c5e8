"""Other tools' multi-fidelity searches on a table: Syne Tune's and SMAC3's (`uv pip install -e '.[peers]'`).

Their spaces are flat: every parameter of `joint` is always sampled, and those that a config has no use for are ignored.
"""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from benchmarks.replay.simulate import Begun, Search
from benchmarks.replay.tables import Params, Table
from trainable.classes import METRIC

DRAWS = 3000
"""Random configs that show what parameters a space has."""


_known: dict[type, dict[str, BaseDistribution]] = {}
"""Parameters of a table's space, by its kind: all tables of a kind have the same."""


def flat(table: Table) -> dict[str, BaseDistribution]:
    """Return all parameters of a table's space."""
    if type(table) not in _known:
        study, space = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), table.space
        distributions: dict[str, BaseDistribution] = {}
        for _ in range(DRAWS):
            trial = study.ask()
            space.sample(trial)
            distributions |= trial.distributions
        _known[type(table)] = dict(sorted(distributions.items()))
    return _known[type(table)]


def begin(table: Table, params: Params) -> Begun:
    """Look a flat config up."""
    trial = FixedTrial(dict(params))
    table.space.sample(trial)  # type: ignore[arg-type]  # it has all that a space may ask
    asked = trial.distributions
    return table.begin({name: params[name] for name in asked}, asked)


class Syne:
    """One of Syne Tune's schedulers, which stop trials."""

    def __init__(self, table: Table, scheduler: Any):
        self.table, self.scheduler, self.trials = table, scheduler, {}  # type: ignore[var-annotated]

    def ask(self, name: str) -> Begun | None:
        """Ask it for a trial."""
        from syne_tune.backend.trial_status import Trial

        if len(self.trials) >= self.table.trials:
            return None
        config = self.scheduler.suggest().config
        self.trials[name] = trial = Trial(len(self.trials), config, None)
        self.scheduler.on_trial_add(trial)
        return begin(self.table, config)

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Let it decide."""
        trial, result = self.trials[name], {METRIC: value, "epoch": epoch}
        if epoch >= self.table.epochs:
            self.scheduler.on_trial_complete(trial, result)
            return False
        on: bool = self.scheduler.on_trial_result(trial, result) == "CONTINUE"
        return on


def syne_space(table: Table) -> dict[str, Any]:
    """Return a table's space in Syne Tune's terms."""
    from syne_tune import config_space

    def domain(distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return config_space.choice(list(distribution.choices))
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        whole = isinstance(distribution, IntDistribution)
        names = {(True, True): "lograndint", (True, False): "randint", (False, True): "loguniform"}
        return getattr(config_space, names.get((whole, distribution.log), "uniform"))(
            distribution.low, distribution.high
        )

    return {name: domain(distribution) for name, distribution in flat(table).items()}


class Smac:
    """SMAC3's multi-fidelity facade: Hyperband over epochs with a random forest.

    It asks for a config and a budget; a config that it asks for again goes on where it was.
    """

    def __init__(self, table: Table, seed: int, folder: Path):
        from smac import MultiFidelityFacade, Scenario

        self.table, self.live, self.begun = table, {}, {}  # type: ignore[var-annotated]
        scenario = Scenario(
            smac_space(table),
            min_budget=1,
            max_budget=table.epochs,
            n_trials=10_000,
            seed=seed,
            deterministic=True,
            output_directory=folder,
        )
        intensifier = MultiFidelityFacade.get_intensifier(scenario, eta=3)
        self.smac = MultiFidelityFacade(
            scenario,
            lambda config, seed, budget: 0.0,
            intensifier=intensifier,
            overwrite=True,
            logging_level=logging.ERROR,
        )

    def ask(self, name: str) -> Begun | None:
        """Ask it for a config and a budget."""
        info = self.smac.ask()
        params = dict(info.config)
        key = repr(sorted(params.items()))
        if key not in self.begun:
            if len(self.begun) >= self.table.trials:
                return None
            self.begun[key] = begin(self.table, params)
        self.live[name] = info, key
        return self.begun[key]

    def report(self, name: str, epoch: int, value: float) -> bool:
        """Tell it the value at the budget."""
        from smac.runhistory import TrialValue

        info, key = self.live[name]
        if epoch < round(info.budget):
            return True
        self.begun[key] = replace(self.begun[key], done=epoch)
        self.smac.tell(info, TrialValue(cost=1 - value))
        return False


def smac_space(table: Table) -> Any:
    """Return a table's space in SMAC's terms."""
    from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer

    space = ConfigurationSpace(seed=0)
    for name, distribution in flat(table).items():
        if isinstance(distribution, CategoricalDistribution):
            space.add(Categorical(name, list(distribution.choices)))
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            kind: Any = Integer if isinstance(distribution, IntDistribution) else Float
            space.add(kind(name, (distribution.low, distribution.high), log=distribution.log))
    return space


def _syne(name: str) -> Callable[[Table, int], contextlib.AbstractContextManager[Search]]:
    @contextlib.contextmanager
    def open_search(table: Table, seed: int) -> Iterator[Search]:
        from syne_tune.optimizer import baselines

        scheduler = getattr(baselines, name)(
            syne_space(table), metric=METRIC, time_attr="epoch", max_t=table.epochs, do_minimize=False, random_seed=seed
        )
        yield Syne(table, scheduler)

    return open_search


@contextlib.contextmanager
def _smac(table: Table, seed: int) -> Iterator[Search]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Smac(table, seed, Path(folder))


PEERS: dict[str, Any] = {}
if find_spec("syne_tune"):
    PEERS |= {f"Syne Tune {name}": _syne(name) for name in ("ASHA", "BOHB", "ASHABORE", "ASHACQR")}
if find_spec("smac"):
    PEERS["SMAC3 multi-fidelity"] = _smac
