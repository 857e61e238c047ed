"""The page: one file of HTML with its style, its program and all data, which a browser shows without any network."""

import base64
import hashlib
import os
import shlex
from typing import Any, Dict, List

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from .. import __version__
from ..eval.report import EXPLANATION, comparisons
from ..output.printable import escaped
from .charts import run_charts
from .facts import accuracies, configurations, facts, tiles
from .pairs import JudgedPairs
from .pictures import Sheets
from .rates import histogram_chart, roc_chart, tar_charts
from .sources import Sources, short_names

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_TITLES = {
    False: "Worst false accepts: different people who are accepted",
    True: "Worst false rejects: the same person, rejected",
}
_CLUSTERS, _MEMBERS = 100, 20  # of conflicts on the page, of a cluster in its row
_SHEETS = 12  # of a folder
_WORST = 24  # mistakes of a kind on the page: a few hundred kilobytes of pictures


def page(sources: Sources) -> str:
    """HTML about all sources. Texts that come from files are shown literally, whatever they contain."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_literal,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = dict(allow_nan=False, separators=(",", ":"))
    scripts = [get_plotlyjs(), _file("page.js")]
    return environment.get_template("page.html").render(
        version=__version__,
        title=_title(sources),
        style=Markup(_file("page.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(map(_hash, scripts)),
        **_runs(sources),
        **_evaluations(sources),
    )


def _title(sources: Sources) -> str:
    names = short_names([run.path for run in sources.runs] + _folders(sources)).values()
    models = dict.fromkeys(each.model for each in sources.results)
    return " · ".join([*names] or models) or "Report"


def _folders(sources: Sources) -> List[str]:
    """Paths of the folders that are not runs."""
    return [pairs.path for pairs in sources.pairs] + [sheets.path for sheets in sources.sheets]


def _runs(sources: Sources) -> Dict[str, Any]:
    names = list(short_names([run.path for run in sources.runs]).values())
    sets, rows = accuracies(sources.runs, names)
    return dict(
        runs=sources.runs,
        names=names,
        tiles=tiles(sources.runs[0]) if sources.runs else [],
        facts=facts(sources.runs),
        sets=sets,
        accuracies=rows,
        published=any(row.published for row in rows),
        curves=list(run_charts(sources.runs, names)),
        skipped=[(name, run.skipped) for name, run in zip(names, sources.runs) if run.skipped],
        model=_model(sources),
        configurations=configurations(sources.runs),
    )


def _model(sources: Sources) -> str:
    """A model of the sources, as a shell takes it; MODEL without one."""
    files = [run.about.get("files") or {} for run in sources.runs]
    models = [each["model"] for each in files if "model" in each] + [each.model for each in sources.results]
    return shlex.quote(str(models[0])) if models else "MODEL"


def _evaluations(sources: Sources) -> Dict[str, Any]:
    scored = [pairs for pairs in sources.pairs if len(pairs.scores)]
    names = short_names(_folders(sources))
    return dict(
        explanation=EXPLANATION.replace("`", ""),
        comparisons=list(comparisons(sources.results)),
        tars=list(tar_charts(sources.results)),
        roc=list(roc_chart(scored, [names[pairs.path] for pairs in scored])),
        pairs=[_pairs(each, names[each.path]) for each in sources.pairs],
        conflicts=sources.conflicts,
        most_clusters=_CLUSTERS,
        most_members=_MEMBERS,
        sheets=[_sheets(each, names[each.path]) for each in sources.sheets],
    )


def _pairs(pairs: JudgedPairs, name: str) -> Dict[str, Any]:
    """What the page shows of judged pairs: their histogram and the galleries of false accepts and false rejects."""
    galleries = [_gallery(pairs, same) for same in (False, True)]
    histogram = list(histogram_chart(pairs, name))
    return dict(name=name, folder=pairs.folder, count=len(pairs.scores), histogram=histogram, galleries=galleries)


def _gallery(pairs: JudgedPairs, same: bool) -> Dict[str, Any]:
    worst = pairs.worst(same, _WORST)
    shown = [dict(mistake=each, pictures=[pairs.picture(each, side) for side in ("left", "right")]) for each in worst]
    return dict(title=_TITLES[same], total=sum(each.same == same for each in pairs.mistakes), shown=shown)


def _sheets(sheets: Sheets, name: str) -> Dict[str, Any]:
    shown = [(each, sheets.picture(each)) for each in sheets.names[:_SHEETS]]
    return dict(name=name, total=len(sheets.names), shown=shown)


def _literal(value: Any) -> Any:
    """A value of the template, with its control characters and marks that reorder text shown as escapes."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _file(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _hash(script: str) -> str:
    """The source expression by which the page's own policy allows a script: no other script can run in it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
