"""Recipes and flags become one frozen, strict config; a config becomes YAML again.

A config is a pydantic dataclass declared with ``STRICT``: unknown keys are errors that name the key, and strings
such as ``1e-4`` (which YAML reads as text) become numbers. Every field has one default, in its class, and a sentence
with its unit under it, which is also its ``--help``.
"""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", validate_default=True)
