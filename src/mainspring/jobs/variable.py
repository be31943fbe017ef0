"""Environment variables that an application needs, declared with their types, so that a self-check can look at them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import DefinitionError
from mainspring.jobs.named import NamedRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = "MAINSPRING_"


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of an application.

    Attributes:
        name: What it is called.
        type: The type that its text must be valid for: one that pydantic reads from text, such as `int` or `HttpUrl`.
        required: Whether it must be set.
    """

    name: str
    type: Any
    required: bool

    @property
    def type_name(self) -> str:
        """The name of its type, for messages."""
        return getattr(self.type, "__name__", None) or str(self.type)

    def problem(self, environment: Mapping[str, str]) -> str | None:
        """Return what is wrong with its value, without the value itself, which may be a secret; None: nothing is.

        Args:
            environment: The environment variables of the process.

        Example:
            >>> Variable("PORT", int, required=True).problem({"PORT": "eighty"})
            'PORT is no int: Input should be a valid integer, unable to parse string as an integer'
        """
        from pydantic import TypeAdapter, ValidationError

        text = environment.get(self.name)
        if text is None:
            return f"{self.name} ({self.type_name}) is not set: set it for this process" if self.required else None
        try:
            TypeAdapter[Any](self.type).validate_python(text)
        except ValidationError as error:
            [first, *_] = error.errors(include_url=False, include_input=False)
            return f"{self.name} is no {self.type_name}: {first['msg']}"
        return None


class Variables:
    """The environment variables that an application has declared."""

    def __init__(self) -> None:
        self._declared = NamedRegistry[Variable]("variable")

    def declare(self, name: str, kind: Any = str, *, required: bool = True) -> None:  # noqa: ANN401 - any type that pydantic knows
        """Declare an environment variable that this application reads.

        `platform-self-check` (`validate-env`) and `mainspring doctor` say when it is missing, or is not of its type.

        Args:
            name: What it is called, in letters, digits and underscores.
            kind: The type that its text must be valid for, such as `int`, `bool`, `timedelta` or pydantic's `HttpUrl`.
            required: Whether it must be set.

        Raises:
            DefinitionError: The name is declared already, cannot be one, or belongs to mainspring's own settings.

        Example:
            >>> Variables().declare("BILLING_TIMEOUT", float, required=False)
        """
        if not _NAME.fullmatch(name) or name.startswith(_OURS):
            raise DefinitionError(
                f"variable {name!r} cannot be declared: a name has letters, digits and underscores, and those that "
                f"begin with {_OURS} are settings of mainspring, which checks them itself"
            )
        self._declared.add(Variable(name, kind, required))

    def __iter__(self) -> Iterator[Variable]:
        """Go through all of them, in the order of declaration."""
        return iter(self._declared)
