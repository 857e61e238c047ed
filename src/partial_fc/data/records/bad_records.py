"""What becomes of records that cannot be used: the end of the work, or, up to a share of all, a line of the log."""

import logging

from ...errors import InputError

log = logging.getLogger("partial_fc")

_NAMED, _ROUNDING = 20, 1e-12


class BadRecords:
    """Counts the bad records of a data set, each of them once, however often it is met.

    Threads note what they meet, each in a dictionary of its own; what they met is added in the order of the data. So
    where too many are bad does not depend on the number of threads.

    Args:
        policy: `error` or `skip`.
        share: of the images that may be bad, where they are skipped; exact, so that 0.001 of 389 images allows none.
        images: of the data set.

    Attributes:
        keys: set of the record numbers.
        skips: whether they are skipped.
    """

    def __init__(self, policy="error", share=0.001, images=0):
        self.skips, self.keys = policy == "skip", set()
        self._share, self._images = share, images
        self._allowed = int(share * images * (1 + _ROUNDING))  # in floats, 0.29 * 100 is less than 29

    def collect(self, key, error, met):
        """Note in `met` (dictionary, errors by record number) that record `key` is bad (`error`).

        Raises:
            InputError: `error` itself where nothing is to be skipped; one with the count where these alone are too
                many.
        """
        if not self.skips:
            raise error
        met[key] = error
        self._check(met, error)

    def add(self, met):
        """Count and log bad records, errors by record number.

        Raises:
            InputError: with the count, if too many are bad.
        """
        for key, error in met.items():
            if key in self.keys:
                continue
            self.keys.add(key)
            if len(self.keys) <= _NAMED:
                log.warning("skipped: %s", error)
            self._check(self.keys, error)

    def skip(self, key, error):
        """Note and add one record; raises as they do."""
        met = {}
        self.collect(key, error, met)
        self.add(met)

    def log_count(self):
        """Log how many there were."""
        if self.keys:
            log.warning("skipped %d bad records", len(self.keys))

    def _check(self, keys, error):
        if len(keys) > self._allowed:
            raise InputError(
                f"{error}; with it {len(keys)} of {self._images} records are bad, more than the share "
                f"bad_record_share={self._share:g}: `partial-fc data check` lists them all"
            )
