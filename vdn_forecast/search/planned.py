"""A search file's data and study: what every process of a search opens for itself."""

import re
from pathlib import Path
from typing import Any

import optuna
from neuralforecast.tsdataset import TimeSeriesDataset

from ..models.checks import check_dataset
from .arguments import least_input_size
from .export import IDENTITY
from .search_file import SearchPlan
from .study import Search

_DIGEST = r"-[0-9a-f]{8}"


def panel_of(plan: SearchPlan, directory: str | Path | None) -> tuple[TimeSeriesDataset, tuple[int, int]]:
    """Train and validation rows on the protocol's scale, and the rows of validation and test: the latter are none.

    Raises:
        ValueError: data that cannot train the model, by name.
        FileNotFoundError: no such dataset.
    """
    data = plan.suite.load(plan.dataset, directory)
    protocol = plan.suite.identity(plan.dataset)
    n_train, n_val, _ = data.borders
    protocol.origins(n_val, plan.h)
    dataset = TimeSeriesDataset.from_df(protocol.prepare(data).frame(n_train + n_val))[0]
    first = plan.space.first()
    least = least_input_size(first["input_size"], plan.space.dimensions.get("input_size"))
    check_dataset(dataset, least, plan.h, n_val, 0, first.get("start_padding_enabled", False) is not False)
    return dataset, (n_val, 0)


def open_search(plan: SearchPlan, out: str | Path, dataset: Any, sizes: tuple[int, int], existing: bool) -> Search:
    """The search of a plan; errors as of `Search` and `SearchPlan.open`."""
    return Search(plan.space, plan.target, dataset, sizes, plan.open(out, existing=existing), plan.settings())


def find_study(plan: SearchPlan, out: str | Path) -> optuna.Study:
    """The study of a plan, without its data: where several states of the data were searched, the last one begun.

    Raises:
        ValueError: there is none.
        ConnectionError: a storage that cannot be reached.
    """
    storage = plan.open(out, existing=True)
    found = [
        summary
        for summary in optuna.get_all_study_summaries(storage)
        if re.fullmatch(re.escape(plan.suite.name) + _DIGEST, summary.study_name) and IDENTITY in summary.user_attrs
    ]
    begun = [summary for summary in found if summary.datetime_start is not None]
    if not begun:
        raise ValueError(f"{plan.path}: the storage holds no trials of a search {plan.suite.name!r}")
    last = max(begun, key=lambda summary: summary.datetime_start)  # type: ignore[arg-type,return-value]
    return optuna.load_study(study_name=last.study_name, storage=storage)
