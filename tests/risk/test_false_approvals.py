"""A small share of `python -m tests.false_approvals`: no approval that some fills would prove false."""

import pytest

from tests.false_approvals import report, run


@pytest.mark.parametrize("seed", [1, 2])
def test_no_approval_is_false(seed: int) -> None:
    *_, (_, tally) = run(4_000, seed)
    assert not tally.false_approvals, report(tally)
    assert sum(tally.asked.values()) >= 4_000 and tally.approved["house"] > 500
    assert {"path tiered", "path deribit_standard", "path deribit_portfolio", "path with haircuts"} <= set(tally.asked)
