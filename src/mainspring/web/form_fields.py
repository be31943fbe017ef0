"""Fields that forms of several pages have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form

Reason = Annotated[str, Form(max_length=1_000)]
"""Why, for the audit; empty: nobody said."""
Hours = Annotated[str, Form(pattern=r"^\d{0,4}$")]
"""For how many hours a change holds; empty: until somebody changes it."""
