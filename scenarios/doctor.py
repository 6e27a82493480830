"""Can this machine run simulations? Each finding says what was seen, why it matters and what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GiB = 2**30
Status = Literal["ok", "warning", "failure"]
Version = tuple[int, ...]

# package: lowest and first too high version this project was tried with, whether nothing works without it
TESTED: dict[str, tuple[Version, Version, bool]] = {
    "flwr": ((1, 41), (1, 43), True),
    "torch": ((2, 9), (2, 15), True),
    "ray": ((2, 55), (2, 56), False),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `why` and `fix` are empty where all is well."""

    name: str
    status: Status
    what: str
    why: str = ""
    fix: str = ""


def examine() -> list[Finding]:
    """All findings, in the order in which one would mend them."""
    looks: list[Callable[[], Finding]] = [
        python, *(lambda package=package: installed(package) for package in TESTED), gpu, cpus,
        memory, disk, shared_memory, descriptors, rays,
    ]  # fmt: skip
    return [look() for look in looks]


def python() -> Finding:
    """The interpreter, which pip has already held to at least 3.11."""
    found = platform.python_version()
    if sys.version_info >= (3, 15):
        return Finding("Python", "warning", found, "Ray has no build for it yet", "take Python 3.11 to 3.14")
    return Finding("Python", "ok", found)


def installed(package: str) -> Finding:
    """A package's version against the range that was tried."""
    low, high, needed = TESTED[package]
    span = f"{'.'.join(map(str, low))} up to, not including, {'.'.join(map(str, high))}"
    fix = f'pip install --upgrade "{"fl-ef21[sim]" if package == "ray" else "fl-ef21"}"'
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        why = "nothing runs without it" if needed else "without it engine.actors must be 0, one process"
        return Finding(package, "failure" if needed else "warning", "not installed", why, fix)
    if not low <= numbers(found) < high:
        return Finding(package, "warning", found, f"tried with {span}; others may behave differently", fix)
    return Finding(package, "ok", found)


def numbers(version: str) -> Version:
    """The leading whole numbers: 2.13.0+cpu is (2, 13, 0)."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()


def gpu() -> Finding:
    """A GPU that torch can use. Simulations work without."""
    try:
        import torch
    except ImportError as error:
        fix = "pip install --force-reinstall torch"
        return Finding("GPU", "failure", "torch cannot be imported", str(error), fix)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", ", ".join(names))
    if Path("/dev/nvidiactl").exists():
        fix = "install the torch build that fits the driver (nvidia-smi shows its CUDA version)"
        return Finding("GPU", "warning", "there, but torch cannot use it", "everything runs on the CPU", fix)
    return Finding("GPU", "ok", "none; clients compute on the CPU")


def cpus() -> Finding:
    """CPUs this process may use; engine.actors is by default all that the machine has."""
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    if usable < there:
        fix = f"set engine.actors to {usable}"
        return Finding("CPUs", "warning", f"{usable} of {there}", "one actor per CPU would be too many", fix)
    return Finding("CPUs", "ok", str(usable))


def memory() -> Finding:
    """Memory that is free now, within the limit of a container."""
    free = free_memory()
    if free is None:
        return Finding("memory", "ok", "not known on this system")
    told = f"{free / GiB:.1f} GiB free"
    if free < 2 * GiB:
        why = "torch and Ray need about 2 GiB before any client"
        return Finding("memory", "warning", told, why, "close other programs, or set engine.actors to 0 or 1")
    return Finding("memory", "ok", told)


def free_memory() -> int | None:
    """Bytes, None where /proc does not say."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    if found is None:
        return None
    free = int(found[1]) * 1024
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    return min(free, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else free


def resident_memory() -> int | None:
    """Bytes of this process, None where /proc does not say."""
    found = re.search(r"VmRSS:\s+(\d+) kB", _read("/proc/self/status"))
    return None if found is None else int(found[1]) * 1024


def disk() -> Finding:
    """Room for run folders here and for Ray's files in the temporary folder."""
    places = {Path.cwd().resolve(), Path(tempfile.gettempdir()).resolve()}
    usages = {place: shutil.disk_usage(place) for place in sorted(places)}
    place, usage = min(usages.items(), key=lambda item: item[1].free)
    told = f"{usage.free / GiB:.1f} GiB free at {place}"
    fix = f"make room at {place}, or work elsewhere (TMPDIR names the temporary folder)"
    if usage.free < GiB:
        return Finding("disk", "failure", told, "run folders and Ray's files will not fit", fix)
    if usage.used / usage.total > 0.95:
        return Finding("disk", "warning", told, "Ray refuses to store objects on a disk over 95 % full", fix)
    return Finding("disk", "ok", told)


def shared_memory() -> Finding:
    """/dev/shm, where Ray keeps what processes share."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding("shared memory", "ok", "no /dev/shm on this system; Ray uses the temporary folder")
    free = shutil.disk_usage(place).free
    told = f"{free / GiB:.1f} GiB free in /dev/shm"
    if free < GiB / 2:
        why = "Ray falls back to the disk, which is slower"
        return Finding("shared memory", "warning", told, why, "in a container: start it with --shm-size=2g")
    return Finding("shared memory", "ok", told)


def descriptors() -> Finding:
    """The limit on open files."""
    try:
        import resource
    except ImportError:
        return Finding("file descriptors", "ok", "no limit of this kind on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("file descriptors", "ok", "no limit")
    if soft < 1024:
        why = "Ray opens hundreds of sockets and fails without a clear message"
        most = 65536 if hard == resource.RLIM_INFINITY else hard
        return Finding("file descriptors", "warning", f"at most {soft}", why, f"ulimit -n {most}")
    return Finding("file descriptors", "ok", f"at most {soft}")


def rays() -> Finding:
    """Ray processes that run now, perhaps left by a program that was killed."""
    found = [entry.name for entry in _processes() if _read(entry / "comm").strip() == "raylet"]
    if found:
        why = "another simulation is running, or a killed one left it; it holds memory and CPUs"
        what = f"raylet runs as process {', '.join(found)}"
        return Finding("Ray processes", "warning", what, why, "if nothing of yours is running: ray stop")
    return Finding("Ray processes", "ok", "none running")


def _processes() -> list[Path]:
    root = Path("/proc")
    return [entry for entry in root.iterdir() if entry.name.isdigit()] if root.is_dir() else []


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # another system, or the process has just ended
        return ""
