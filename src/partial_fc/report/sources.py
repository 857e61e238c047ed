"""What a page is about: folders and files, each recognized by its content."""

import os
from typing import Dict, List, NamedTuple, Sequence

from ..errors import InputError
from ..eval.output import Result
from ..eval.saved import result_from
from ..files import read_json
from .conflicts import Conflicts, conflicts_from, is_conflicts
from .pairs import JudgedPairs, has_pairs, read_pairs
from .pictures import Sheets, find_sheets
from .runs import RunFolder, is_run, read_run

# Bytes of a file; `centers conflicts` writes about 300 for each pair, and has 100,000 pairs where every tenth of a
# million classes is in two parts.
_MOST_JSON = 2**28


class Sources(NamedTuple):
    """What has been read, each kind in the order of the arguments."""

    runs: List[RunFolder]
    results: List[Result]
    pairs: List[JudgedPairs]
    conflicts: List[Conflicts]
    sheets: List[Sheets]


def read_sources(paths: Sequence[str]) -> Sources:
    """Read folders of runs, judged pairs and sheets, files of evaluations and conflicts. A folder may be several kinds.

    Raises:
        InputError: there is no such file, or it is none of these; the message names it, and what is wrong.
        OSError: a file cannot be read.
    """
    sources = Sources([], [], [], [], [])
    for path in dict.fromkeys(paths):
        if os.path.isdir(path):
            _add_folder(path, sources)
        else:
            _add_file(path, sources)
    return sources


def _add_folder(path: str, sources: Sources) -> None:
    pairs, run, sheets = has_pairs(path), is_run(path), find_sheets(path)
    if not (pairs or run or sheets.names):
        raise InputError(
            f"{path}: not the folder of a run, which has losses.csv or summary.json, nor one that `eval verification "
            "--mistakes` or `centers conflicts --pictures` has written"
        )
    if run:
        sources.runs.append(read_run(path))
    if pairs:
        sources.pairs.append(read_pairs(path))
    if sheets.names:
        sources.sheets.append(sheets)


def _add_file(path: str, sources: Sources) -> None:
    found = read_json(path, _MOST_JSON)
    if is_conflicts(found):
        sources.conflicts.append(conflicts_from(found, path))
    else:
        results = found if found and isinstance(found, list) else [found]
        sources.results.extend(result_from(each, path) for each in results)


def short_names(paths: Sequence[str]) -> Dict[str, str]:
    """The last parts of each path, by path: as many parts as are needed for all names to differ."""
    parts = {path: os.path.abspath(path).split(os.sep) for path in paths}
    for count in range(1, max(map(len, parts.values()), default=1) + 1):
        names = {path: os.sep.join(each[-count:]) or path for path, each in parts.items()}
        if len(set(names.values())) == len(names):
            break
    return names if parts else {}
