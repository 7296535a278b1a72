"""The margin kernel: the compiled one where it was built, otherwise the plain one; see kernel_plain for what it does.

MARGINGATE_PURE=1 takes the plain one.
"""

import os

from risk.kernel_plain import MAX_CASH, MAX_LOTS

__all__ = ["COMPILED", "MAX_CASH", "MAX_LOTS", "MarginKernel"]

if os.environ.get("MARGINGATE_PURE") == "1":
    from risk.kernel_plain import MarginKernel

    COMPILED = False
else:
    try:
        from risk._kernel import MarginKernel

        COMPILED = True
    except ImportError:
        from risk.kernel_plain import MarginKernel

        COMPILED = False
