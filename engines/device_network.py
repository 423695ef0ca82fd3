"""What the two halves of a network on a GPU must offer, so that one fuser serves every runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from engines.device import Recording, Stream


@dataclass(frozen=True, slots=True)
class Tensors:
    """Where a network reads and writes on the device, for one picture size. Addresses are multiples of 16."""

    ir: int
    """(rows, columns) fp16 in 0..1, padded: what the encoders see."""
    vis: int
    """As `ir`."""
    private_ir: int
    """(*feature, maps) fp16, channels last: written by `encode`; the fused private stack when `decode` reads it."""
    private_vis: int
    """As `private_ir`, and never read by `decode`."""
    common_ir: int
    """(*feature, maps) fp16, channels last: written by `encode`; the fused common stack when `decode` reads it."""
    common_vis: int
    """As `common_ir`, and never read by `decode`."""
    fused: int
    """(*decoded,) of `DeviceNetwork.unit`, luma in 0..1: written by `decode`."""
    feature: tuple[int, int]
    """Height and width of the stacks."""
    decoded: tuple[int, int]
    """Rows and columns of `fused`: at least those of the picture, which begins at its first row and column."""


class DeviceNetwork(Protocol):
    """Encoders and decoder of a model on the device. One thread at a time; every enqueue returns at once.

    What goes wrong on the device is raised as a CrotalusError, by the call that meets it.
    """

    @property
    def name(self) -> str:
        """Runtime and precision for tables and messages, e.g. `tensorrt 10.16 fp16`."""
        ...

    @property
    def unit(self) -> Literal["half", "float"]:
        """Element type of the decoded luma."""
        ...

    def memory(self, rows: int, columns: int) -> int:
        """Bytes on the device that `prepare` takes for a padded size, as near as is known: what an error tells."""
        ...

    def prepare(self, rows: int, columns: int) -> Tensors:
        """Make ready for one picture of a padded size; what was held for another size is given back first.

        The caller has waited for all that was enqueued; and what this enqueues anywhere is done when it returns, for
        the fuser's streams do not wait for the default one. Raises DeviceMemoryError, and then holds nothing.
        """
        ...

    def encode(self, stream: Stream) -> None:
        """Enqueue: `ir` and `vis` to the four stacks. May be recorded once it has run for this size."""
        ...

    def decode(self, stream: Stream) -> None:
        """Enqueue: `private_ir` and `common_ir`, by now the fused ones, to `fused`. May be recorded likewise."""
        ...

    def record(self, stream: Stream, body: Callable[[], None]) -> Recording:
        """What `body` enqueues on the stream as one recording, e.g. `device.capture(stream, body)`; nothing is run.

        The caller has run the same body for this size before, and closes the recording before the next `prepare`.
        """
        ...

    def close(self) -> None:
        """Give all memory back; may be called twice, and after an error of the device, and never raises."""
        ...
