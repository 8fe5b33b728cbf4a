"""The ways to divide a corpus into training and validation clips."""

from typing import Literal

FoldScheme = Literal["stratified", "grouped", "official"]
Scheme = Literal["stratified", "grouped", "official", "first_last"]
