"""Unusable records: an error, or, up to a share of all records, skipped and logged."""

import logging
from typing import Collection, Dict, Set

from ...errors import InputError

log = logging.getLogger("partial_fc")

_NAMED, _ROUNDING = 20, 1e-12


class BadRecords:
    """Counts the bad records of a data set, each once.

    Each thread collects the bad records of its work in a dictionary of its own; the dictionaries are added in the order
    of the data. So the record at which the run fails does not depend on the number of threads.

    Args:
        policy: `error` or `skip`.
        share: maximum share of bad records to skip before failing; exact: 0.001 of 389 images allows none.
        images: number of images of the data set.

    Attributes:
        keys: record numbers of the bad records.
        skips: whether they are skipped.
    """

    def __init__(self, policy: str = "error", share: float = 0.001, images: int = 0) -> None:
        self.skips = policy == "skip"
        self.keys: Set[int] = set()
        self._share, self._images = share, images
        self._allowed = int(share * images * (1 + _ROUNDING))  # in floats, 0.29 * 100 is less than 29

    def collect(self, key: int, error: InputError, found: Dict[int, InputError]) -> None:
        """Put record `key`, which is bad because of `error`, into `found`, errors by record number.

        Raises:
            InputError: `error` itself, if bad records are not skipped; one with the count, if `found` has too many.
        """
        if not self.skips:
            raise error
        found[key] = error
        self._check(found, error)

    def add(self, found: Dict[int, InputError]) -> None:
        """Count and log the bad records of `found`, errors by record number.

        Raises:
            InputError: with the count, if too many are bad.
        """
        for key, error in found.items():
            if key in self.keys:
                continue
            self.keys.add(key)
            if len(self.keys) <= _NAMED:
                log.warning("skipped: %s", error)
            self._check(self.keys, error)

    def skip(self, key: int, error: InputError) -> None:
        """Collect and add one record; raises as `collect` and `add` do."""
        found: Dict[int, InputError] = {}
        self.collect(key, error, found)
        self.add(found)

    def log_count(self) -> None:
        """Log how many records were bad."""
        if self.keys:
            log.warning("skipped %d bad records", len(self.keys))

    def _check(self, keys: Collection[int], error: InputError) -> None:
        if len(keys) > self._allowed:
            raise InputError(
                f"{error}; this makes {len(keys)} of {self._images} records bad, more than the maximum share "
                f"bad_record_share={self._share:g}: `partial-fc data check` lists them all"
            )
