"""The text of `partial-fc train --help` and of docs/configuration.md, which follows from the table of keys.

`python -m partial_fc.cli.train_help` prints docs/configuration.md.
"""

import textwrap
from typing import Any, Dict, Sequence

from ..config import NAMES, default_names, load_presets, naming_presets
from ..config_entry import Key
from ..config_keys import KEYS, SECTIONS
from ..config_keys import defaults as defaults_of_table
from ..output.printable import print_lines

_OF_PRESETS = (*NAMES, "presets")  # keys that --set does not take: the presets depend on them
_EXAMPLES = """examples:
  partial-fc train
      the demo, on one rank
  bash run.sh -np 8 -- --dataset emore --network r50 --sample-ratio 0.1
      a published setting on 8 ranks, with a tenth of the class centers in an update
  bash run.sh -np 8 -- --rec faces/train.rec --network r18 --set val_targets= --set max_update=20000
      images of your own"""

_PAGE = """# Keys of the configuration

Presets in [default.py](../default.py) may give any key a value: `common()` for all of them, losses, data sets and
networks for themselves. `--set KEY=VALUE` overrides it for one run, as does the option that the first column names.
Lists are written as `--set lr_steps=20000,28000` or `--set val_targets=`.

Keys without a value in a preset have the default. Paths are relative to the current folder. `partial-fc train --help`
prints the same.

To add a key, write a line in [config_keys.py](../src/partial_fc/config_keys.py), then
`python -m partial_fc.cli.train_help > docs/configuration.md`.
"""


def as_text(value: Any) -> str:
    """A value as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def defaults(path: str = "") -> Dict[str, str]:
    """The default of each key, for people; that of a preset is its own where losses or data sets have one.

    Args:
        path: value of the key `presets`.
    """
    presets = load_presets(path)
    groups = presets.LOSSES, presets.DATASETS, presets.NETWORKS
    own = {key for group in groups for each in group.values() for key in each}
    with naming_presets(path):
        common = {**defaults_of_table(), **presets.common()}
    found = {**default_names(path), "presets": "default.py", **{key: _shown(value) for key, value in common.items()}}
    found.update({key: f"{found[key]}, or the preset's" if key in found else "the preset's" for key in own})
    return {key: found.get(key, "none") for key in KEYS}


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else as_text(value) or "empty"


def help_text(entry: Key, default: str) -> str:
    """Help on a key: `meaning (whole number, at least 1; updates; default: 20)`."""
    details = [entry.values if entry.values != "text" else "", entry.unit, f"default: {default}"]
    return f"{entry.meaning} ({'; '.join(filter(None, details))})"


def epilog(path: str = "") -> str:
    """The end of `--help`: the keys that only `--set` reaches, with their meanings, and examples."""
    lines = ["keys of --set KEY=VALUE, beside those that have an option, and their defaults:"]
    for key, default in defaults(path).items():
        if not KEYS[key].option and key not in _OF_PRESETS:
            text = f"{key:20}  {help_text(KEYS[key], default)}"
            lines.append(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent=24 * " "))
    return "\n".join([*lines, "", _EXAMPLES])


def page() -> str:
    """The text of docs/configuration.md."""
    names, starts = list(KEYS), [*map(list(KEYS).index, SECTIONS.values()), len(KEYS)]
    parts = [names[start:end] for start, end in zip(starts, starts[1:])]
    return _PAGE + "".join(f"\n## {title}\n\n{_table(part)}" for title, part in zip(SECTIONS, parts))


def _table(names: Sequence[str]) -> str:
    lines = ["| key | meaning | value | unit | default |", "|---|---|---|---|---|"]
    for name in names:
        entry = KEYS[name]
        option = (
            f"`{entry.flag}`, `{name}`"
            if entry.option
            else f"`{entry.flag}`"
            if name in (*NAMES, "presets")
            else f"`{name}`"
        )
        cells = (option, entry.meaning, entry.values, entry.unit, defaults()[name])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print_lines(page().splitlines())
