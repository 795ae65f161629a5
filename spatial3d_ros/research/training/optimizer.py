"""AdamW with states of 32 bits, or of 8 bits in blocks (torchao): a quarter of their memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spatial3d_ros.errors import NotAvailableError

BETAS = (0.9, 0.98)


def make_optimizer(groups: list[dict[str, Any]], lr: float, bits: int) -> torch.optim.Optimizer:
    """The optimiser of some parameter groups. Raises NotAvailableError for 8 bits without torchao.

    Parameters of fewer than 4096 numbers keep states of 32 bits.
    """
    if bits == 32:
        return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=torch.cuda.is_available())
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise NotAvailableError(
            "optimizer_bits: 8 needs torchao: pip install 'spatial3d_ros[quantize]', or use 32"
        ) from error
    if not torch.cuda.is_available():  # compiling its step for a CPU takes minutes
        torch.compiler.set_stance("force_eager")
    return AdamW8bit(groups, lr=lr, betas=BETAS)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of a parameter group, which torchao keeps in a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
