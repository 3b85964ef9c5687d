from .batchnorm import BatchNorm1d as BatchNorm1d
from .batchnorm import BatchNorm2d as BatchNorm2d
from .fused import FusedBatchNorm1d as FusedBatchNorm1d
from .fused import FusedBatchNorm2d as FusedBatchNorm2d
from .lenet import LeNet as LeNet
from .note import NoteBatchNorm as NoteBatchNorm
from .variants import VARIANTS as VARIANTS
from .variants import Variant as Variant
