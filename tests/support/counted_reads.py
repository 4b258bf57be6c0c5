"""A source for tests of how often rows are read."""

from moe_sklearn.data import RowSource


class OnDisk(RowSource):
    """An array taken for a file; `reads` lists the rows of every reading."""

    values = None

    def __init__(self, X):
        super().__init__(X)
        self.in_memory = False
        self.reads = []

    def _load(self, rows):
        self.reads.append(rows)
        return super()._load(rows)
