# The compiled kernel has exactly the interface of its plain twin.
from risk.kernel_plain import MarginKernel as MarginKernel
