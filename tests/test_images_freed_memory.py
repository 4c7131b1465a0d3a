"""What an image leaves behind is used again: the system is not asked for the same pages image after image."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import numpy as np
from blemish.images import keep_freed_memory

def image_after_image():
    for size in 3 * [2_430_000, 196_608, 3_240_000, 3_240_000]:
        held = [np.ones(size, np.uint8), np.ones(2 * size, np.uint8)]

if {keep}:
    keep_freed_memory()
image_after_image()
before = resource.getrusage(resource.RUSAGE_SELF)
image_after_image()
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_minflt - before.ru_minflt, after.ru_maxrss)
"""


def faults_and_memory(keep: bool) -> tuple[int, int]:
    """Pages that had to be fetched for buffers as large as earlier ones, and the largest resident memory."""
    done = subprocess.run([sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True)
    faults, memory = map(int, done.stdout.split())
    return faults, memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries decide for themselves")
def test_freed_buffers_are_used_again_and_cost_no_memory():
    faults_before, memory_before = faults_and_memory(False)
    faults, memory = faults_and_memory(True)
    assert faults < 100 < faults_before
    assert memory < 1.2 * memory_before
