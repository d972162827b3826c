"""What edgemoe raises, besides ValueError for a wrong argument and FileNotFoundError for a file that is not there."""

from __future__ import annotations


class EdgemoeError(Exception):
    """Any failure of the engine that is not one of the following."""


class ModelFormatError(EdgemoeError):
    """A model file is damaged or is not what it claims to be."""


class OutOfBudgetError(EdgemoeError, MemoryError):
    """The memory figure cannot be met; the message names the least that can."""


class EdgemoeIOError(EdgemoeError, OSError):
    """The operating system reported an error; the message names file and offset."""


class Cancelled(EdgemoeError):
    """The call was cancelled, from another thread or by its progress callback."""
