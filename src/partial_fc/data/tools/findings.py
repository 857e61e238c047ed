"""What an examination of a data set finds, counted by kind."""

ERROR, NOTE = "error", "note"
SHOWN = 10


class Findings:
    """Counts findings by kind and keeps the first few of each."""

    def __init__(self):
        self._kinds = {}

    def add(self, kind, record, message, severity=ERROR, count=1):
        """Count a finding.

        Args:
            kind: str.
            record: its record number, or None.
            message: str.
            severity: ERROR or NOTE, the same for all of a kind.
            count: how many it stands for; those without a message of their own come with `message` None.
        """
        found = self._kinds.setdefault(kind, {"kind": kind, "severity": severity, "count": 0, "examples": []})
        found["count"] += count
        if message is not None and len(found["examples"]) < SHOWN:
            found["examples"].append({"record": None if record is None else int(record), "message": message})

    def listed(self):
        """Dictionaries of `kind`, `severity`, `count` and `examples` (`record`, `message`), errors first."""
        return sorted(self._kinds.values(), key=lambda found: found["severity"] != ERROR)
