"""Damaged files of one format, chosen by the branches that they reach in our code: `fuzz_coverage.py FORMAT [OPTIONS]`.

It needs atheris (Python 3.11 to 3.13), which nothing else does: `pip install atheris`. Options are those of libFuzzer,
such as `-max_total_time=60`. It ends with the first file that gives neither data nor one of our errors, and keeps it.
"""

import logging
import os
import shutil
import sys
import tempfile

import atheris

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "src")]

with atheris.instrument_imports(include=["partial_fc"]):
    from helpers.formats import FORMATS, Tally


def main(name, *options):
    """Try files until one is found, or the options end it."""
    logging.disable()
    form, scratch = FORMATS[name], tempfile.mkdtemp()
    corpus, folder = (os.path.join(scratch, each) for each in ("corpus", "files"))
    os.makedirs(os.path.join(scratch, "seeds"))
    os.makedirs(corpus)
    seeds = form.seeds(os.path.join(scratch, "seeds"))
    names = sorted(seeds[0])
    for number, seed in enumerate(seeds):
        for place, each in enumerate(names):
            with open(os.path.join(corpus, f"{number}-{place}"), "wb") as file:
                file.write(bytes([number, place]) + seed[each])

    def attempt(data):
        """The first two bytes choose the variant and its file; the others are what that file holds."""
        files = dict(seeds[data[0] % len(seeds)]) if len(data) > 1 else {}
        if files:
            files[names[data[1] % len(names)]] = data[2:]
        shutil.rmtree(folder, ignore_errors=True)
        for each, content in files.items():
            os.makedirs(os.path.dirname(os.path.join(folder, each)), exist_ok=True)
            with open(os.path.join(folder, each), "wb") as file:
                file.write(content)
        if files:
            form.use(folder, Tally())

    atheris.Setup([sys.argv[0], corpus, *options], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
