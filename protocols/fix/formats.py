"""FIX data types as formats: what the bytes of a value may look like."""

import re
from collections.abc import Callable
from enum import IntEnum

from protocols.fix.values import parse_decimal, parse_timestamp


class Format(IntEnum):
    """How a value is written. The compiled screen knows these numbers too."""

    TEXT = 1
    CHAR = 2
    BOOLEAN = 3
    INT = 4
    COUNT = 5
    FLOAT = 6
    TIMESTAMP = 7
    DATE = 8
    TIME = 9
    MONTH_YEAR = 10
    WORDS = 11
    DATA = 12
    GROUP = 13


FORMAT_OF_TYPE = {
    "AMT": Format.FLOAT,
    "BOOLEAN": Format.BOOLEAN,
    "CHAR": Format.CHAR,
    "COUNTRY": Format.TEXT,
    "CURRENCY": Format.TEXT,
    "DATA": Format.DATA,
    "DAYOFMONTH": Format.INT,
    "EXCHANGE": Format.TEXT,
    "FLOAT": Format.FLOAT,
    "INT": Format.INT,
    "LENGTH": Format.COUNT,
    "LOCALMKTDATE": Format.DATE,
    "MONTHYEAR": Format.MONTH_YEAR,
    "MULTIPLECHARVALUE": Format.WORDS,
    "MULTIPLESTRINGVALUE": Format.WORDS,
    "MULTIPLEVALUESTRING": Format.WORDS,
    "NUMINGROUP": Format.GROUP,
    "PERCENTAGE": Format.FLOAT,
    "PRICE": Format.FLOAT,
    "PRICEOFFSET": Format.FLOAT,
    "QTY": Format.FLOAT,
    "SEQNUM": Format.COUNT,
    "STRING": Format.TEXT,
    "TAGNUM": Format.COUNT,
    "UTCDATEONLY": Format.DATE,
    "UTCTIMEONLY": Format.TIME,
    "UTCTIMESTAMP": Format.TIMESTAMP,
}

_MONTH = rb"[0-9]{4}(?:0[1-9]|1[0-2])"
_DAY = rb"(?:0[1-9]|[12][0-9]|3[01])"

# Printable ASCII: what is not belongs into the Encoded... fields, and would harm whoever gets it echoed.
_TEXT = re.compile(rb"[ -~]+").fullmatch
_CHAR = re.compile(rb"[!-~]").fullmatch
_INT = re.compile(rb"-?[0-9]{1,18}").fullmatch
_COUNT = re.compile(rb"[0-9]{1,18}").fullmatch
_DATE = re.compile(_MONTH + _DAY).fullmatch
_TIME = re.compile(rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.(?:[0-9]{3}){1,3})?").fullmatch
_MONTH_YEAR = re.compile(_MONTH + rb"(?:" + _DAY + rb"|w[1-5])?").fullmatch
_WORDS = re.compile(rb"[!-~]+(?: [!-~]+)*").fullmatch


# Format -> whether a value has it; any truthy answer is yes.
CHECKS: dict[Format, Callable[[bytes], object]] = {
    Format.TEXT: _TEXT,
    Format.CHAR: _CHAR,
    Format.BOOLEAN: {b"Y", b"N"}.__contains__,
    Format.INT: _INT,
    Format.COUNT: _COUNT,
    Format.FLOAT: lambda value: parse_decimal(value) is not None,
    Format.TIMESTAMP: lambda value: parse_timestamp(value) is not None,
    Format.DATE: _DATE,
    Format.TIME: _TIME,
    Format.MONTH_YEAR: _MONTH_YEAR,
    Format.WORDS: _WORDS,
    Format.DATA: lambda value: True,
    Format.GROUP: _COUNT,
}
