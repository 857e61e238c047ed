"""The tables of a page on runs: what was trained, how fast, and how well, with a column or a row for each run."""

import datetime
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..eval.protocols.published import published
from .runs import RunFolder

UNKNOWN = "–"
_TILES = 3  # verification sets in large letters

Cells = Tuple[str, List[str]]  # heading of a row, and its cells


class Accuracy(NamedTuple):
    """A cell of the table of accuracies: the accuracy, and what else is known, both in percent."""

    accuracy: str
    more: str = ""


class AccuracyRow(NamedTuple):
    """A row of the table of accuracies: of a run, or of a published model."""

    name: str
    published: bool
    cells: List[Accuracy]


def facts(runs: Sequence[RunFolder]) -> List[Cells]:
    """Rows on what was trained, with a cell for each run; rows that are unknown of all runs are left out."""
    rows = [(heading, [_cell(cell, run) for run in runs]) for heading, cell in _ROWS]
    return [row for row in rows if set(row[1]) != {UNKNOWN}]


def _cell(cell: Callable[[RunFolder], str], run: RunFolder) -> str:
    try:
        return cell(run) or UNKNOWN
    except (KeyError, TypeError, ValueError, OverflowError):  # a run of another version, or one that has only begun
        return UNKNOWN


def _state(run: RunFolder) -> str:
    if run.finished:
        return "finished"
    return "unfinished: it is still training, or has ended without its last update"


def _loss(run: RunFolder) -> str:
    values = run.settings
    if values.get("adaface_m"):
        return f"{run.about['loss']}: s={values['loss_s']:g}, m={values['adaface_m']:g}"
    margins = ", ".join(f"{name}={values['loss_' + name]:g}" for name in ("s", "m1", "m2", "m3") if values)
    return f"{run.about['loss']}: {margins}" if margins else run.about["loss"]


def _filtering(run: RunFolder) -> str:
    threshold = run.settings["interclass_filtering"]
    return f"{threshold:g}, {run.settings['interclass_filtering_mode']}" if threshold else UNKNOWN


def _updates(run: RunFolder) -> str:
    total = 0 if run.settings.get("max_epochs") else run.settings.get("max_update")
    done = f"{run.about['updates']:,}"
    return f"{done} of {total:,}" if total and not run.finished else done


def _time(run: RunFolder) -> str:
    return str(datetime.timedelta(seconds=round(run.about["train_seconds"])))


def _rate(run: RunFolder) -> str:
    rate = run.about["images_per_second"]
    since = run.about.get("continued_from")
    return f"{rate:,.0f}" + (f" since update {since:,}" if since else "") if rate else UNKNOWN


def _precision(run: RunFolder) -> str:
    configured = run.settings.get("precision", UNKNOWN)
    chosen = run.about.get("precision") or configured
    return f"{chosen}, chosen by auto" if configured == "auto" != chosen else chosen


def _batch(run: RunFolder) -> str:
    ranks, batch, parts = run.about["ranks"], run.settings["batch_size"], run.settings.get("accumulate", 1)
    text = f"{batch:,} per rank" + (f" × {parts} per update" if parts > 1 else "")
    return text + (f" × {ranks} = {batch * parts * ranks:,}" if ranks else "")


def _best(run: RunFolder) -> str:
    return "{accuracy:.2%} by {of}, update {update:,}".format(**run.about["best_model"])


def _skipped(run: RunFolder) -> str:
    return f"{run.about['skipped_records']:,}" if run.finished else f"{len(run.skipped):,} logged so far"


def _known(name: str, form: str = "{}") -> Callable[[RunFolder], str]:
    """Function that gives an entry of the summary as text."""
    return lambda run: UNKNOWN if run.about.get(name) is None else form.format(run.about[name])


def _set(name: str) -> Callable[[RunFolder], str]:
    """Function that gives a value of the configuration as text."""
    return lambda run: str(run.settings[name])


_ROWS: Sequence[Tuple[str, Callable[[RunFolder], str]]] = (
    ("State", _state),
    ("Data", _known("dataset")),
    ("Records", _set("rec")),
    ("Identities", _known("num_classes", "{:,}")),
    ("Image size", _known("image_size", "{0} × {0}")),
    ("Network", _known("network")),
    ("Embedding size", _known("embedding_size")),
    ("Loss", _loss),
    ("Sample ratio", _known("sample_ratio", "{:g}")),
    ("Filtering", _filtering),
    ("Sampling correction", lambda run: "yes" if run.settings["sampling_correction"] else UNKNOWN),
    ("Optimizer", lambda run: f"{run.settings['optimizer']}, learning rate {run.settings['backbone_lr']:g}"),
    ("Precision", _precision),
    ("Ranks", _known("ranks")),
    ("Batch", _batch),
    ("Updates", _updates),
    ("Training time", _time),
    ("Images per second", _rate),
    ("Loss, first → last", lambda run: f"{run.about['first_loss']:.2f} → {run.about['last_loss']:.2f}"),
    ("Best model", _best),
    ("Skipped records", _skipped),
    ("Seed", _known("seed")),
    ("Versions", lambda run: ", ".join(f"{name} {version}" for name, version in run.versions.items())),
)


def accuracies(runs: Sequence[RunFolder], names: Sequence[str]) -> Tuple[List[str], List[AccuracyRow]]:
    """Names of the verification sets, and rows of runs, with published models below, which have a cell for each set."""
    measured = [run.about.get("verification", {}) for run in runs]
    sets = list(dict.fromkeys(name for each in measured for name in each))
    rows = [
        AccuracyRow(name, False, [_accuracy(each.get(of, {})) for of in sets]) for name, each in zip(names, measured)
    ]
    return sets, rows + _published(sets)


def _published(sets: Sequence[str]) -> List[AccuracyRow]:
    found: Dict[str, Dict[str, float]] = {}
    for of in sets:
        for each in published("verification", of):
            found.setdefault(each.model, {})[of] = each.figures["accuracy_flip"]
    cells = {model: [Accuracy(percent(by_set.get(of))) for of in sets] for model, by_set in found.items()}
    return [AccuracyRow(f"published: {model}", True, each) for model, each in cells.items()]


def tiles(run: RunFolder) -> List[Tuple[str, str]]:
    """Figures of a single run that the page shows in large letters: (words, value)."""
    sets = run.about.get("verification", {})
    shown = [
        (f"accuracy on {name}", f"{percent(each.get('accuracy'))} %") for name, each in list(sets.items())[:_TILES]
    ]
    rows = (("identities", "num_classes"), ("updates", "updates"), ("images per second", "images_per_second"))
    shown += [(words, _cell(_known(name, "{:,.0f}"), run)) for words, name in rows]
    return [*shown, ("training time", _cell(_time, run))]


def percent(value: Any) -> str:
    """A fraction of 1 in percent, with two digits; UNKNOWN for None."""
    return f"{100 * value:.2f}" if isinstance(value, (int, float)) else UNKNOWN


def _accuracy(known: Mapping[str, Any]) -> Accuracy:
    more = []
    if "best_update" in known:
        more.append(f"best {percent(known.get('accuracy_best'))} at update {known['best_update']}")
    for name, words in (("accuracy_untrained", "untrained"), ("accuracy_pixels", "raw pixels")):
        if known.get(name) is not None:
            more.append(f"{words} {percent(known[name])}")
    return Accuracy(percent(known.get("accuracy")), ", ".join(more))


def configurations(runs: Sequence[RunFolder]) -> List[Tuple[bool, str, List[str]]]:
    """For each key of any run: whether it differs between the runs, its name, and its values."""
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    return list(_values(keys, runs))


def _values(keys: Sequence[str], runs: Sequence[RunFolder]) -> Iterator[Tuple[bool, str, List[str]]]:
    for key in keys:
        values = [_shown(run.settings.get(key)) for run in runs]
        yield len(set(values)) > 1, key, values


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else UNKNOWN if value is None else str(value)
