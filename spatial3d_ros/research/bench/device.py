"""What a network of any size costs on this computer's device, with random weights: load, memory,
the scene, a warm question, and how much of the device's measured matrix rate they use.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.model.config import ModelConfig, named_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.quantize import place_model
from spatial3d_ros.research.bench.network import Timed
from spatial3d_ros.tasks.prompt import Prompt

MATRIX = 4096
OBJECTS = 50


def bench_device(
    model: str, views: Sequence[int] = (8, 16, 32), repeats: int = 5, device: str = "auto"
) -> dict[str, object]:
    """`model`: a configuration's name or YAML file. bfloat16 on a CUDA device, float32 elsewhere.

    For each number of views: `scene_ms` from pixels to the cached prefix, `question_ms` behind it
    (medians), `scene_share` of the matrix rate that the scene's operations reach, and the most
    memory allocated (CUDA) or resident (elsewhere, of the whole process so far).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    config = named_config(model)
    began = time.perf_counter()
    network = random_network(config, place, dtype)
    result: dict[str, object] = {
        "model": config.name,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "parameters_million": sum(p.numel() for p in network.parameters()) / 1e6,
        "build_s": time.perf_counter() - began,
    }
    prompt = Prompt(load_model(model_folder("tiny"))[1], config.s2.category_mode)
    with torch.inference_mode(), torch.autocast(place.type, dtype, dtype != torch.float32):
        rate = matrix_rate(place, dtype, repeats)
        result["matrix_tflops"] = rate / 1e12
        for count in views:
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats(place)
            timed = Timed(network, prompt, count, OBJECTS, place)
            with FlopCounterMode(display=False) as counter:
                timed.look()
            scene = _median(timed.look, place, repeats)
            result[f"{count}_views"] = {
                "scene_ms": scene * 1e3,
                "question_ms": _median(timed.warm, place, 3 * repeats) * 1e3,
                "scene_tflop": counter.get_total_flops() / 1e12,
                "scene_share": counter.get_total_flops() / scene / rate,
                "memory_gib": _memory(place) / 2**30,
            }
    return result


def random_network(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> SpatialModel:
    """A network with random weights, built in its number format on its device."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            network = SpatialModel(config)
    finally:
        torch.set_default_dtype(before)
    return place_model(network, device, dtype).eval()


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Operations a second of a large matrix product."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    return 2 * MATRIX**3 / _median(lambda: a @ b, device, repeats)


def _median(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds, after one run that does not count."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
