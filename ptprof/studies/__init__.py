"""Whole studies: is everything in one as its records say, and several made into one."""

from __future__ import annotations

from ptprof.studies.checking import CheckReport, Finding, check
from ptprof.studies.merging import Conflicts, MergeReport, merge

__all__ = ["CheckReport", "Conflicts", "Finding", "MergeReport", "check", "merge"]
