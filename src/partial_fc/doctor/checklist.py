"""The checklist of an examination: one finding after the other, and how it is printed."""

from typing import Any, Dict, Iterable, List, NamedTuple

OK, WARNING, TROUBLE = "ok", "warning", "trouble"

Facts = Dict[str, Any]  # of a host, or of one part of it: see `facts.gather`


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        topic: what was checked, in a word or two.
        status: OK; WARNING: training works, but slower or not as intended; TROUBLE: it will not work.
        message: the result.
        advice: what to do, unless the status is OK.
    """

    topic: str
    status: str
    message: str
    advice: str = ""


def lines(finding: Finding) -> List[str]:
    """A finding as lines of a checklist."""
    first, *rest = finding.message.splitlines() or [""]
    message = [f"  {finding.status:8} {finding.topic:12} {first}"] + [f"{'':24}{line}" for line in rest]
    return message + [f"{'':24}-> {line}" for line in finding.advice.splitlines()]


def count(findings: Iterable[Finding], status: str) -> int:
    """How many findings have a status."""
    return sum(finding.status == status for finding in findings)


def missing(part: Any) -> bool:
    """Whether a part of the facts is an error, or was not collected at all."""
    return not part or "error" in part
