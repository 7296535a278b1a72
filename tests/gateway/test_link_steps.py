"""The compiled steps at a venue's link write the same journal as the methods, whatever goes wrong at the venue."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import link_steps
from gateway.journal import read
from gateway.venues.link import SessionLink
from protocols.venues import short_way
from protocols.venues.deribit import Deribit
from tests.simulator import World

pytestmark = pytest.mark.skipif(
    not (link_steps.COMPILED and short_way.COMPILED), reason="no compiled steps of a link were built"
)


def plainly(patch: pytest.MonkeyPatch) -> None:
    """Let the methods themselves do it."""
    from gateway import _link  # type: ignore[attr-defined]
    from protocols.venues import _short  # type: ignore[attr-defined]

    both = ((SessionLink, ("place", "receive"), _link), (Deribit, ("receive", "place", "events"), _short))
    for cls, names, compiled in both:
        for name, method in zip(names, compiled.plain_methods(), strict=True):
            assert method is not getattr(cls, name)
            patch.setattr(cls, name, method)


def lived(seed: int, directory: Path) -> list[tuple[int, int, bytes]]:
    """Return the journal of a world with the faults of its seed."""
    world = World(seed, directory)
    try:
        world.run()
        return [(entry.time_ns, entry.record_type, entry.payload) for entry in read(world.directory)]
    finally:
        world.journal.close()


@pytest.mark.parametrize("seed", [4, 12])
def test_a_world_with_faults_has_the_same_journal(tmp_path: Path, seed: int) -> None:
    compiled = lived(seed, tmp_path / "compiled")
    with pytest.MonkeyPatch.context() as patch:
        plainly(patch)
        assert lived(seed, tmp_path / "plain") == compiled
