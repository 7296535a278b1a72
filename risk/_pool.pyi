# The compiled kernel has exactly the interface of its plain twin.
from risk.pool_plain import PoolKernel as PoolKernel
