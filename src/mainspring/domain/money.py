"""The rule that payloads hold no amounts of money (on-demand document, contract §7).

A payload is kept, shown, searched and logged, and JSON numbers are floats: money belongs into typed columns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MONETARY_WORDS: Final = frozenset({"amount", "price", "cost", "fee", "salary", "balance"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# The codes in use (ISO 4217), to be searched as text.
_CODES: Final = (
    "AED AFN AMD ANG AOA ARS AUD AWG AZN BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY "
    "CRC CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD "
    "IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MDL MGA MKD MMK MNT MRU MUR MVR "
    "MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD "
    "SHP SLE SRD SSP STN SVC SYP SZL THB TJS TMT TND TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF "
    "XPF YER ZAR ZMW ZWG"
)
# Codes that prose in capitals holds as words count only where nothing but a number stands beside them: "TOP 10 reports"
# is no sum in Tongan money.
_WORDS_TOO: Final = "ALL BAM COP CUP GEL MAD MOP PEN SOS TOP TRY"
_NOTHING_ELSE: Final = re.compile(r"[\s\d.,'+-]*[A-Z]{3}[\s\d.,'+-]*")

# A sign of the Unicode category "currency symbol", or three capitals that stand for themselves, with a number before or
# after. Each alternative begins with what is rare, and so a long text costs little.
_SIGN: Final = (
    "[$\xa2-\xa5\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20c1\ua838\ufdfc\ufe69\uff04"
    "\uffe0\uffe1\uffe5\uffe6]"
)
_JOINED: Final = re.compile(
    rf"{_SIGN}(?:(?=\s?-?\d)|(?<=\d.)|(?<=\d\s.))"
    r"|(?<![A-Za-z_])[A-Z]{3}(?![A-Za-z_])(?:(?=\d|\s-?\d)|(?<=\d...)|(?<=\d\s...))"
)


class MonetaryValueError(MainspringError):
    """A payload holds an amount of money."""

    code = "MONETARY_VALUE"


def refuse_money(payload: object, *, allowed: Collection[str] = ()) -> None:
    """Refuse a payload that holds an amount of money.

    That is a number anywhere under a key whose last word is amount, price, cost, fee, salary or balance, or a string
    that joins a number to a currency code or sign.

    Args:
        payload: JSON.
        allowed: Fields that may hold amounts, by key or by dotted path (`@app.job(allow_money=…)`).

    Raises:
        MonetaryValueError: It holds one; the message names where.

    Example:
        >>> refuse_money({"filters": {"unitPrice": 12}})
        Traceback (most recent call last):
        ...
        mainspring.domain.money.MonetaryValueError: payload.filters.unitPrice holds an amount of money…
    """
    for path in _amounts(payload, (), frozenset(allowed), monetary=False):
        raise MonetaryValueError(
            f"payload.{'.'.join(path)} holds an amount of money, which payloads must not: pass the id of the record "
            "that holds it, or let the job's author allow the field with `allow_money`"
        )


def _amounts(
    value: object, path: tuple[str, ...], allowed: frozenset[str], *, monetary: bool
) -> Iterator[tuple[str, ...]]:
    match value:
        case dict():
            for name, item in cast("dict[str, object]", value).items():
                here = (*path, name)
                if name not in allowed and ".".join(here) not in allowed:
                    yield from _amounts(item, here, allowed, monetary=monetary or _is_monetary(name))
        case list():
            for index, item in enumerate(cast("list[object]", value)):
                yield from _amounts(item, (*path, str(index)), allowed, monetary=monetary)
        case int() | float() if monetary and not isinstance(value, bool):
            yield path
        case str() if _is_sum(value):
            yield path
        case _:
            pass


def _is_monetary(key: str) -> bool:
    words: list[str] = _WORD.findall(key)
    return bool(words) and words[-1].lower() in MONETARY_WORDS


def _is_sum(text: str) -> bool:
    stands_alone = _NOTHING_ELSE.fullmatch(text) is not None
    found: list[str] = _JOINED.findall(text)
    return any(len(sign) == 1 or sign in _CODES or (stands_alone and sign in _WORDS_TOO) for sign in found)
