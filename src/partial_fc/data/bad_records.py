"""What becomes of records that cannot be used: the end of the training, or, up to a share of all, a line of the log."""

import logging
import threading

from ..errors import InputError

log = logging.getLogger("partial_fc")

_NAMED = 20


class BadRecords:
    """Counts bad records of a rank. Threads may use it at the same time.

    Args:
        policy: `error` or `skip`.
        share: of the images read that may be bad, where they are skipped.
        images: that this rank reads in an epoch; the share is at least of so many, and one bad record is allowed.

    Attributes:
        keys: set of the record numbers met.
    """

    def __init__(self, policy="error", share=0.001, images=0):
        self._policy, self._share, self._images = policy, share, images
        self._lock = threading.Lock()
        self._num_read = self._num_bad = 0
        self.keys = set()

    def count(self, num_read):
        """Count images that were read."""
        with self._lock:
            self._num_read += num_read

    def add(self, key, error):
        """Log that record `key` is bad (`error`) and skipped.

        Raises:
            InputError: `error` itself where nothing is to be skipped; one with the count where too many are bad.
        """
        if self._policy == "error":
            raise error
        with self._lock:
            self._num_bad += 1
            new = key not in self.keys
            self.keys.add(key)
            too_many = self._num_bad > max(1, self._share * max(self._num_read, self._images))
        if new and len(self.keys) <= _NAMED:
            log.warning("skipped: %s", error)
        if too_many:
            raise InputError(
                f"{error}; with it {len(self.keys)} records were bad, more than the share bad_record_share="
                f"{self._share:g}: `partial-fc data check` lists them all"
            )

    def tell(self):
        """Log how many there were."""
        if self.keys:
            log.warning("skipped %d bad records, %d times", len(self.keys), self._num_bad)
