from risk.pricing import Floats
from risk.remargin_plain import Flags, Ints, Offsets

def remargin_segments(
    values: Floats,
    known: Flags,
    base: int,
    segment_offsets: Offsets,
    segment_accounts: Ints,
    rows: Ints,
    amounts: Floats,
    first: int,
    last: int,
    worst: Floats,
    equity: Floats,
    cost: Floats,
    binding: Offsets,
    scenario: Ints,
    off: Floats | None = None,
    off_of: Ints | None = None,
) -> None: ...
