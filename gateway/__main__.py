"""Where the `margingate` command begins; `python -m gateway` too."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command. A Ctrl-C while modules are loaded ends it as any programme, without a traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.cli import main as run  # late: this is what takes the time

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
