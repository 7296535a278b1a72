"""`python -m gateway.fix_rules`: write docs/fix.md, the rules of engagement, from the dictionaries."""

from pathlib import Path
from typing import Final

from protocols.fix.dictionary import FIX42, FIX44, FIX50SP2
from protocols.fix.rules import rules_of_engagement

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "fix.md"


def document() -> str:
    """Return the text that docs/fix.md has to have."""
    return rules_of_engagement({"4.2": FIX42, "4.4": FIX44, "5.0 SP2": FIX50SP2})


if __name__ == "__main__":
    PATH.write_text(document())
