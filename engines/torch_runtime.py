"""torch on a GPU as this project uses it: our streams, our errors, recordings, and no switch left changed.

torch itself is handed in by engines/torch_cuda.py, the one file that imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from traceback import clear_frames
from typing import Any

from engines.base import CrotalusError
from engines.device import DeviceError, DeviceMemoryError, Recording, Stream
from engines.trt import SHORT


class TorchRuntime:
    """torch and a device of it. One thread at a time."""

    def __init__(self, torch: Any, place: str) -> None:
        """place: torch's name of the device, `cuda`; on another, all runs at once and nothing can be recorded."""
        self.torch, self.place = torch, place
        self.is_cuda = place.startswith("cuda")
        self.name = f"torch {torch.__version__}"
        self._pool: Any = None

    def run(self, stream: Stream, work: Callable[[], None], *, what: str, needed: int) -> None:
        """Put what `work` does into a stream. what, needed: for the error, see `failures`."""
        with self.failures(what, needed), self.settings(), self.on(stream):
            work()

    def record(self, stream: Stream, body: Callable[[], None], *, what: str, needed: int) -> Recording:
        """What `body` puts into the stream, by torch and by others, as a recording; nothing is run.

        `Device.capture` will not do: torch's allocator has to know of a recording. It would hand out blocks of its
        common pool for results on the way, give them to others once the recording ends, and every launch would still
        write there. `torch.cuda.graph` takes them from a pool that stays with the recording. Recordings share one
        pool: they run one after the other in one stream, and leave nothing in it for later.
        """
        torch = self.torch
        graph, outer = torch.cuda.CUDAGraph(), torch.cuda.ExternalStream(stream.handle)
        # Other threads may allocate meanwhile, a decoder of videos does: by default, "global", that would fail.
        options = {"pool": self._pool, "stream": outer, "capture_error_mode": "thread_local"}
        with self.failures(what, needed), self.settings(), torch.cuda.graph(graph, **options):
            body()
        return TorchRecording(self, graph)

    def warm_up(self, work: Callable[[int], None], times: int) -> None:
        """Run `work` in a stream of torch's own, as its docs ask before a recording, and wait. It is told the turn."""
        if not self.is_cuda:
            return
        self.torch.cuda.synchronize()  # other streams may still be at what `work` writes
        stream = self.torch.cuda.Stream()
        with self.torch.cuda.stream(stream):
            for turn in range(times):
                work(turn)
        stream.synchronize()
        self.give_back()  # blocks are kept by stream, and this one is not seen again

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A tensor (N, C, h, w) laid out channels last, at an address of a multiple of 16."""
        return self.torch.empty(shape, dtype=dtype, device=self.place, memory_format=self.torch.channels_last)

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """torch puts its work into a stream of ours."""
        if not self.is_cuda:
            return nullcontext()
        context: AbstractContextManager[Any] = self.torch.cuda.stream(self.torch.cuda.ExternalStream(stream.handle))
        return context

    def give_back(self) -> None:
        """Hand unused memory to the driver, for others to take. Never raises. No recording is held on to any more."""
        if self.is_cuda:
            with suppress(RuntimeError):  # the GPU may have failed; the process's end gives all back then
                self.torch.cuda.empty_cache()
                self._pool = (
                    self.torch.cuda.graph_pool_handle()
                )  # a number; that of a pool given back is not taken again

    @contextmanager
    def settings(self) -> Iterator[None]:
        """torch's switches as inference needs them, put back afterwards. fp32 means fp32, as for TensorRT."""
        torch = self.torch
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            yield

    @contextmanager
    def failures(self, what: str, needed: int) -> Iterator[None]:
        """torch's errors as DeviceMemoryError and DeviceError. what: was being done, and takes `needed` bytes."""
        try:
            yield
        except CrotalusError:
            raise
        except RuntimeError as error:
            reason = reason_of(error)
            if not isinstance(error, self.torch.OutOfMemoryError) and not SHORT.search(reason):
                advice = "run it again, update the NVIDIA driver, or use --backend cpu"
                raise DeviceError(f"{self.name}: {what}: {reason}; {advice}") from error
            clear_frames(error.__traceback__)  # their variables hold results, and memory, while the error is looked at
            free = 0
            with suppress(RuntimeError):
                if self.is_cuda:
                    self.torch.cuda.empty_cache()
                    free = self.torch.cuda.mem_get_info()[0]
            raise DeviceMemoryError(needed, free, what=f"{self.name}: {what}") from error


class TorchRecording:
    """A CUDA graph of torch's."""

    def __init__(self, runtime: TorchRuntime, graph: Any) -> None:
        """graph: captured."""
        self._runtime, self._graph = runtime, graph

    def launch(self, stream: Stream) -> None:
        """See `Recording`. torch replays into its current stream."""
        with self._runtime.failures("a recorded frame", 0), self._runtime.on(stream):
            self._graph.replay()

    def close(self) -> None:
        """See `Recording`."""
        with suppress(RuntimeError):
            self._graph.reset()


def reason_of(error: RuntimeError) -> str:
    """What torch says, in one line: its first, and the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
