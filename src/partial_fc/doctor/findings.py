"""What an examination finds, and how it is printed."""

from typing import NamedTuple

OK, WARNING, TROUBLE = "ok", "warning", "trouble"


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        topic: what, in a word or two.
        status: OK; WARNING: training works, but slower or not as it may be meant; TROUBLE: it will not work.
        message: what was found.
        advice: what to do, unless the status is OK.
    """

    topic: str
    status: str
    message: str
    advice: str = ""


def lines(finding):
    """A finding as lines of a checklist."""
    first, *rest = finding.message.splitlines() or [""]
    told = [f"  {finding.status:8} {finding.topic:12} {first}"] + [f"{'':24}{line}" for line in rest]
    return told + [f"{'':24}-> {line}" for line in finding.advice.splitlines()]


def count(findings, status):
    """How many findings have a status."""
    return sum(finding.status == status for finding in findings)
