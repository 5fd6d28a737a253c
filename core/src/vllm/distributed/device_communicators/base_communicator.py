"""The Communicator contract: how the ranks of one group exchange tensors.

Public methods are final: they check arguments and skip the work for one rank; the inner method with a leading underscore does it.
All calls are collective: every rank of the group calls the same method in the same order with equal shapes and dtypes (those of models,
and int64). They are queued on
the device's current stream like any operator, and block the host only where said.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

__all__ = ["CommunicatorBase"]


class CommunicatorBase(abc.ABC):
    """One group of ranks on one kind of device."""

    def __init__(self, *, rank: int, world_size: int, device: torch.device, group: ProcessGroup | None = None) -> None:
        """Keep the arguments; the ranks have met already (`parallel_state`). A subclass that opens a transport of its own does it here.

        Args:
            rank: this process's place in the group, 0 … world_size-1.
            world_size: ranks of the group.
            device: where the tensors live.
            group: the ranks' group of torch.distributed, made with `Platform.dist_backend`: what collectives use, or what a transport
                of its own exchanges addresses over. None with one rank.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is outside the group of {world_size}")
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self.group = group

    # -- public, final --------------------------------------------------------------------------------------------------------

    @final
    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks; any shape and strides. May work in place: use the returned tensor, forget the argument."""
        return tensor if self.world_size == 1 else self._all_reduce(tensor)

    @final
    def all_gather(self, tensor: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """Concatenation of the ranks' tensors along `dim`, in rank order, whatever their strides; a new tensor."""
        return tensor if self.world_size == 1 else self._all_gather(tensor, _positive_dim(tensor, dim))

    @final
    def reduce_scatter(self, tensor: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """Sum over the ranks, then this rank's equal share along `dim`, which must divide by the world size."""
        dim = _positive_dim(tensor, dim)
        if tensor.shape[dim] % self.world_size:
            raise ValueError(
                f"reduce_scatter: dimension {dim} of {tuple(tensor.shape)} does not divide by {self.world_size} ranks"
            )
        return tensor if self.world_size == 1 else self._reduce_scatter(tensor, dim)

    @final
    def broadcast(self, tensor: torch.Tensor, src: int = 0) -> torch.Tensor:
        """`src`'s tensor on every rank, in place; returns it."""
        self._check_peer(src)
        return tensor if self.world_size == 1 else self._broadcast(tensor, src)

    @final
    def send(self, tensor: torch.Tensor, dst: int) -> None:
        """Send to one rank; the tensor must stay unchanged until the peer has received."""
        self._check_peer(dst, allow_self=False)
        self._send(tensor, dst)

    @final
    def recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> torch.Tensor:
        """Receive from one rank into a new tensor."""
        self._check_peer(src, allow_self=False)
        return self._recv(shape, dtype, src)

    @final
    def barrier(self) -> None:
        """Block the host until every rank is here."""
        if self.world_size > 1:
            self._barrier()

    @final
    def destroy(self) -> None:
        """Leave the group. Called once, also after errors; never blocks."""
        self._destroy()

    # -- inner, mandatory (called with world_size > 1 only) --------------------------------------------------------------------

    @abc.abstractmethod
    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor: ...

    @abc.abstractmethod
    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor: ...

    @abc.abstractmethod
    def _reduce_scatter(self, tensor: torch.Tensor, dim: int) -> torch.Tensor: ...

    @abc.abstractmethod
    def _broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor: ...

    @abc.abstractmethod
    def _send(self, tensor: torch.Tensor, dst: int) -> None: ...

    @abc.abstractmethod
    def _recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> torch.Tensor: ...

    @abc.abstractmethod
    def _barrier(self) -> None: ...

    def _destroy(self) -> None:
        """Nothing to leave."""

    def _check_peer(self, peer: int, *, allow_self: bool = True) -> None:
        if not 0 <= peer < self.world_size or (peer == self.rank and not allow_self):
            raise ValueError(f"rank {peer} is no peer of rank {self.rank} in a group of {self.world_size}")


def _positive_dim(tensor: torch.Tensor, dim: int) -> int:
    if not -tensor.dim() <= dim < tensor.dim():
        raise ValueError(f"dim {dim} is outside a tensor of {tensor.dim()} dimensions")
    return dim % tensor.dim()
