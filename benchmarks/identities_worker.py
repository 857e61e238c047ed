"""One rank of a training with purely random sampling, for benchmarks.identities; arguments are those of the trainer.

Centers are drawn without regard to the batch. A sample whose own center was not drawn is only pushed away from the
others: the logit 0 takes the place of its own, and its loss is log(1 + sum of exp z).
"""

import sys
from typing import Any, Optional, Sequence, Union

import numpy as np

from partial_fc.cli.train import main
from partial_fc.head import bank
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.partial_fc import PartialFC, SampledRows
from partial_fc.training import build


class RandomBank(MemoryBank):
    """Samples without regard to the positives, and keeps the labels of the last sample."""

    shard_labels = np.zeros(0, np.int64)

    def sample(self, shard_labels: np.ndarray, num_update: int) -> Optional[np.ndarray]:
        self.shard_labels = shard_labels
        return super().sample(np.full_like(shard_labels, -1), num_update)


class RandomPartialFC(PartialFC):
    """The samples whose class was not drawn have none."""

    def choose(
        self, labels: Any, num_update: int, records: Union[Sequence, np.ndarray, None] = None, requests: int = 0
    ) -> SampledRows:
        choice = super().choose(labels, num_update, records, requests)
        if choice.rows is None:
            return choice
        assert isinstance(self.bank, RandomBank)
        rows, wanted = choice.rows, self.bank.shard_labels
        columns = np.minimum(choice.columns, len(rows) - 1)
        return choice._replace(columns=np.where((wanted >= 0) & (rows[columns] == wanted), columns, -1))


def run() -> int:
    """Train with both in place of the library's; returns the exit status."""
    before = bank.MemoryBank, build.PartialFC
    bank.MemoryBank, build.PartialFC = RandomBank, RandomPartialFC  # type: ignore[misc]
    try:
        return main()
    finally:
        bank.MemoryBank, build.PartialFC = before  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(run())
