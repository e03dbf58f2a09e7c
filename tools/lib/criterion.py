# SPDX-License-Identifier: Apache-2.0
"""Tests that a Criterion program skipped: it says so only when asked, and passes all the same."""

import os
import re


def environment():
    """Of a program whose output is for print_skips()."""
    return dict(os.environ, CRITERION_VERBOSITY_LEVEL="1")


def print_skips(output, name):
    """A line for each, as of a test of the suite; @name: of the program."""
    for test, reason in re.findall(r"^\[SKIP\] \S+?::(\S+): (.*)$", output, re.MULTILINE):
        print(f"skip {name}/{test}: {reason}", flush=True)
