"""The pool kernel: the compiled one where it was built, otherwise the plain one; see pool_terms for what it does.

MARGINGATE_PURE=1 takes the plain one.
"""

import os

__all__ = ["COMPILED", "PoolKernel"]

if os.environ.get("MARGINGATE_PURE") == "1":
    from risk.pool_plain import PoolKernel

    COMPILED = False
else:
    try:
        from risk._pool import PoolKernel

        COMPILED = True
    except ImportError:
        from risk.pool_plain import PoolKernel

        COMPILED = False
