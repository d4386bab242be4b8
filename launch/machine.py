"""What this machine has: CPU cores and GPUs."""

import os
import shutil
import subprocess
from dataclasses import dataclass

NVIDIA_SMI_TIMEOUT_S = 20
"""A driver that wakes up its GPUs takes some seconds to answer."""


@dataclass(frozen=True)
class Machine:
    """CPU cores this process may use, and GPUs by the names CUDA_VISIBLE_DEVICES takes."""

    cpu_count: int
    gpus: tuple[str, ...] = ()


def this_machine() -> Machine:
    """Look at the machine this process runs on."""
    return Machine(len(os.sched_getaffinity(0)), _visible_gpus())


def gpu_names() -> list[str]:
    """Model names of the GPUs, empty where `nvidia-smi` finds none."""
    return _nvidia_smi("name")


def gpu_memory_gb() -> float | None:
    """Memory of the smallest GPU in GB of 10^9 bytes, None where `nvidia-smi` finds none."""
    mebibytes = [float(answer.split()[0]) for answer in _nvidia_smi("memory.total") if answer[:1].isdigit()]
    return round(min(mebibytes) * 2**20 / 1e9, 1) if mebibytes else None


def _visible_gpus() -> tuple[str, ...]:
    indices = _nvidia_smi("index")
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not indices or chosen is None:
        return tuple(indices)
    return tuple(gpu.strip() for gpu in chosen.split(",") if gpu.strip())


def _nvidia_smi(field: str) -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return []
    return [line.strip() for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
