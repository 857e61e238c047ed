"""Measures this machine for `--gpu here`: starts ranks, which time the parts of an update, and stores the cards."""

import dataclasses
import json
import os
from typing import Any, Callable, Dict, List, Sequence

from ..doctor.programs import mpirun_command, rank_command, run
from ..errors import InputError
from ..files import write_json
from .cards import cards_in

_WORKER = "partial_fc.planning.measure_rank"
_MARK = f"{_WORKER}:"  # repeated here, since the worker imports MXNet; a test compares the two
_TIMEOUT = 300  # seconds, for a number of ranks
_LAST_LINES = 6


def measure_machine(
    numbers: Sequence[int], path: str, report: Callable[[str], None] = lambda line: None
) -> List[Dict[str, Any]]:
    """Measure this host with each number of ranks, and store the cards; the file keeps those of other numbers.

    A file that cannot be used, damaged or of an earlier version, is replaced.

    Args:
        numbers: of ranks.
        path: of the JSON file.
        report: called with a line of progress.

    Returns:
        The cards that were measured, as JSON values.

    Raises:
        InputError: the ranks failed, with what they printed last.
        OSError: the file cannot be written.
    """
    earlier = _earlier(path, report)
    cards = []
    for number in numbers:
        report(f"measuring with {number} rank{'s' * (number > 1)}")
        cards.append(_measure(number))
    kept = [each for each in earlier if each["ranks"] not in numbers]
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    write_json(path, sorted(kept + cards, key=lambda each: each["ranks"]))
    return cards


def _earlier(path: str, report: Callable[[str], None]) -> List[Dict[str, Any]]:
    """The cards in the file; none if it cannot be used, which is reported."""
    try:
        return [dataclasses.asdict(card) for card in (cards_in(path) if os.path.isfile(path) else [])]
    except InputError as error:
        report(f"{error}: the file is replaced")
        return []


def _measure(ranks: int) -> Dict[str, Any]:
    command = rank_command(_WORKER)
    outcome = run(mpirun_command(["localhost"] * ranks, command) if ranks > 1 else command, _TIMEOUT)
    for line in outcome.output.splitlines():
        _, mark, card = line.partition(_MARK)
        if mark and not outcome.problem:
            return json.loads(card)
    last = [line for line in (outcome.output + outcome.errors).splitlines() if line.strip(" -")][-_LAST_LINES:]
    problem = outcome.problem or "the ranks reported nothing"
    raise InputError("\n".join([f"measuring with {ranks} ranks: {problem}", *last]))
