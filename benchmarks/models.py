"""Time and memory of the networks, beside the same networks written the plain way and the floor.

    python benchmarks/models.py [--networks xvfi-released abpn-released ...] [--full]
        [--rows 192 --columns 384] [--coarse 96 96] [--threads N] [--device cpu|cuda] [--compile]

The same random weights, inputs and number of threads; XVFI makes the two maps between a pair,
ABPN enlarges one map. Each figure comes from a process of its own: the fastest of the calls of
some seconds, at least two, after a smaller one.
The floor is the larger of the operations of convolutions and attentions over the measured rate
of a matrix product, and of the bytes that the convolutions read and write over the measured rate
of a copy; the exponentials of an attention are left out, since no call runs them at the rate at
which the fused attention does. `--full` takes 721 × 1440 and 240 × 480 nodes; `--compile` gives
ours to `torch.compile` (which needs a C++ compiler) and leaves the time of compiling out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from plain_networks import PlainXvfi, plain_copy
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deepcams_models.abpn import ABPN, FACTOR, AbpnSettings, SpatialAttention
from deepcams_models.xvfi import XVFI, XvfiSettings

NETWORKS = [
    *("xvfi-released", "xvfi-paper", "xvfi-recommended"),
    *("abpn-released", "abpn-recommended"),
]
TIMES = (1 / 3, 2 / 3)
REPEATS = 2
AT_LEAST_S = 4.0  # what takes less than a second is repeated more often: the fastest counts


def build(name: str) -> nn.Module:
    """Return a network with random weights whose outputs are of the size of its inputs."""
    torch.manual_seed(0)
    kind, preset = name.split("-")
    network: nn.Module
    if kind == "xvfi":
        network = XVFI(XvfiSettings.preset(preset))
    else:
        network = ABPN(AbpnSettings.preset(preset))
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=float(parameter[0].numel()) ** -0.5)
    return network.eval()


def inputs(name: str, rows: int, columns: int, device: str) -> list[Tensor]:
    """Return smooth random maps, and flows or a start where the network wants them."""
    generator = torch.Generator().manual_seed(1)

    def smooth(channels: int, factor: int, scale: float) -> Tensor:
        size = (factor * rows, factor * columns)
        coarse = torch.randn(1, channels, size[0] // 8 + 2, size[1] // 8 + 2, generator=generator)
        return scale * nn.functional.interpolate(coarse, size, mode="bicubic").to(device)

    kind, preset = name.split("-")
    if kind == "xvfi":
        maps = [smooth(1, 1, 1.0), smooth(1, 1, 1.0)]
        given = XvfiSettings.preset(preset).initial_flow == "dis"
        return maps + ([smooth(2, 1, 3.0), smooth(2, 1, 3.0), smooth(2, 1, 0.3)] if given else [])
    given = AbpnSettings.preset(preset).start == "given"
    return [smooth(1, 1, 1.0)] + ([smooth(1, FACTOR, 1.0)] if given else [])


def call(network: nn.Module, name: str) -> Callable[[list[Tensor]], Tensor]:
    """Return the call to be timed."""

    def interpolate(given: list[Tensor]) -> Tensor:
        flows = (given[2], given[3]) if len(given) > 2 else None
        sun = given[4] if len(given) > 2 else None
        result: Tensor = network.interpolate(  # type: ignore[operator]  # both kinds have it
            given[0], given[1], TIMES, flows=flows, sun=sun, cyclic=True
        )
        return result

    @torch.no_grad()
    def enlarge(given: list[Tensor]) -> Tensor:
        result: Tensor = network(*given, cyclic=True)
        return result

    return interpolate if name.startswith("xvfi") else enlarge


def measure(name: str, variant: str, size: tuple[int, int], device: str, out: Path) -> None:
    """Run one variant, write its output and print its figures as JSON."""
    network = build(name)
    if variant == "plain":
        network = PlainXvfi(network) if isinstance(network, XVFI) else plain_copy(network)
    network.to(device)
    if variant == "compiled":
        method = "interpolate" if isinstance(network, XVFI) else "forward"
        setattr(network, method, torch.compile(getattr(network, method), dynamic=False))
    run = call(network, name)
    run(inputs(name, 32, 64, device))
    given = inputs(name, *size, device)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts from here
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = float("inf")
    began = time.perf_counter()
    repeats = 0
    while repeats < REPEATS or time.perf_counter() - began < AT_LEAST_S:
        repeats += 1
        begin = time.perf_counter()
        result = run(given)
        if cuda:
            torch.cuda.synchronize()
        seconds = min(seconds, time.perf_counter() - begin)
    peak = resident("VmHWM") - before
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    np.save(out, result.cpu().numpy())
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "std": result.std().item()}))


def resident(key: str) -> float:
    """Return the resident memory of this process, or its peak (Linux), MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def work(name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Return operations and bytes of one call, in units of 1e9."""
    network = build(name)
    moved, attended = [0], [0]

    def count_bytes(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        weights = sum(one.numel() for one in layer.parameters(recurse=False))
        moved[0] += 4 * (given[0].numel() + result.numel() + weights)

    def count_attention(_layer: nn.Module, given: tuple[Tensor, ...], _result: Tensor) -> None:
        _, channels, rows, columns = given[0].shape
        attended[0] += 4 * channels * (rows * columns) ** 2

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(count_bytes)
        if isinstance(layer, SpatialAttention):
            layer.register_forward_hook(count_attention)
    counter = FlopCounterMode(display=False)
    with counter:
        call(network, name)(inputs(name, *size, "cpu"))
    products = counter.get_flop_counts()["Global"]
    convolved = sum(count for key, count in products.items() if "conv" in str(key))
    return (convolved + attended[0]) / 1e9, moved[0] / 1e9


def rates(device: str) -> tuple[float, float]:
    """Return 1e9 a second: operations of a matrix product, bytes of a copy."""
    square = torch.randn(2048, 2048, device=device)
    long = torch.randn(2**25, device=device)
    other = torch.empty_like(long)

    def seconds(action: Callable[[], object]) -> float:
        taken = []
        for _ in range(4):
            begin = time.perf_counter()
            action()
            if device == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begin)
        return min(taken)

    product = 2 * 2048**3 / seconds(lambda: square @ square) / 1e9
    return product, 2 * 4 * 2**25 / seconds(lambda: other.copy_(long)) / 1e9


def compare(name: str, size: tuple[int, int], options: argparse.Namespace, folder: Path) -> None:
    """Print one row of the table."""
    figures, outputs = {}, {}
    for variant in ("compiled" if options.compile else "ours", "plain"):
        out = folder / f"{name}-{variant}.npy"
        command = [sys.executable, __file__, "--one", name, variant, str(out)]
        command += ["--threads", str(options.threads), "--device", options.device]
        command += ["--size", *map(str, size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        role = "plain" if variant == "plain" else "ours"
        figures[role] = json.loads(done.stdout)
        outputs[role] = np.load(out)
    operations, moved = work(name, size)
    product, copy = rates(options.device)
    maps = outputs["ours"].shape[1]
    floor = max(operations / product, moved / copy) / maps
    ours, plain = (figures[key]["seconds"] / maps for key in ("ours", "plain"))
    difference = np.abs(outputs["ours"] - outputs["plain"]).max()
    print(
        f"| {name} | {size[0]} × {size[1]} | {ours:.3f} | {plain:.3f} | {plain / ours:.1f}"
        f" | {figures['ours']['peak_mib']:.0f} | {figures['plain']['peak_mib']:.0f}"
        f" | {difference:.1e} | {operations / maps:.0f} | {moved / maps:.2f} | {floor:.3f} |",
        flush=True,
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--rows", type=int, default=192, help="of XVFI")
    parser.add_argument("--columns", type=int, default=384, help="of XVFI")
    parser.add_argument("--coarse", type=int, nargs=2, default=(96, 96), help="of ABPN")
    parser.add_argument("--full", action="store_true", help="721 × 1440 and 240 × 480")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=device)
    parser.add_argument("--compile", action="store_true", help="ours through torch.compile")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "VARIANT", "OUT"))
    parser.add_argument("--size", type=int, nargs=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        name, variant, out = options.one
        measure(name, variant, tuple(options.size), options.device, Path(out))
        return
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads\n")
    print(
        "| network | size | s/map | plain s/map | ratio | MiB | plain MiB | max difference"
        " | GFLOP/map | GB/map | floor s/map |\n|" + " --- |" * 11
    )
    temporal = (721, 1440) if options.full else (options.rows, options.columns)
    spatial = (240, 480) if options.full else tuple(options.coarse)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            size = temporal if name.startswith("xvfi") else spatial
            compare(name, size, options, Path(folder))


if __name__ == "__main__":
    main()
