"""Is a data set fit to learn from and to test with?"""

from blemish.checking.check import check_dataset
from blemish.checking.findings import CODES, CheckReport, Finding

__all__ = ["CODES", "CheckReport", "Finding", "check_dataset"]
