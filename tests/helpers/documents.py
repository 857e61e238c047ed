"""What README and docs print: their command lines are run or parsed by tests, as they stand there."""

import glob
import os
import re

from helpers.paths import ROOT


def documents():
    """(Path from the checkout, text) of README and every page of the docs, lines that end in a backslash joined."""
    pages = sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")) + glob.glob(os.path.join(ROOT, "*.md")))
    for page in (*pages, os.path.join(ROOT, "setup-utils", "README.md")):
        with open(page, encoding="utf-8") as file:
            yield os.path.relpath(page, ROOT), file.read().replace("\\\n", " ")


def command_lines(pattern):
    """Lines of blocks of code in which a command stands that matches, without their comments; each one once."""
    found = {}
    for _, text in documents():
        blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        blocks += re.findall(r"(?:^ {4}\S.*\n)+", text, re.MULTILINE)
        for line in (line for block in blocks for line in block.splitlines()):
            command = re.sub(r"\s+# .*", "", " ".join(line.split()))
            if re.search(pattern, command):
                found[command] = True
    return list(found)
