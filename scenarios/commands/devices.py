"""`fl-ef21 devices`."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fl_ef21.errors import InputError
from scenarios.commands.failures import complain, explained
from scenarios.units import short, size

if TYPE_CHECKING:
    from fl_ef21.devices.profile import Device
    from fl_ef21.devices.recorder import Recorder

EVERY = 30.0  # seconds between two writings of a profile


def fit(file: Path, out: Path, debug: bool) -> None:
    """Write a profile and say what is in it."""
    with explained(debug):
        from fl_ef21.devices import measurements, profile
        from fl_ef21.devices.fit import fit as fitted

        rows, classes = measurements.by_device(measurements.read(file)), measurements.classes(file)
        if not rows:
            raise InputError("FILE", str(file), "holds no measurements")
        devices = [fitted(name, of, classes.get(name, "device")) for name, of in rows.items()]
        profile.save(out, devices)
        tell(devices, out)


def record(
    out: Path, minutes: float | None, name: str | None, kind: str, local_steps: int, options: Sequence[str], debug: bool
) -> None:
    """Run the node until it ends, and keep what was measured."""
    with explained(debug):
        if not out.parent.is_dir():
            raise InputError("--out", str(out), f"the folder {out.parent} is not there; make it, or name another")
        from fl_ef21 import flower_node
        from fl_ef21.devices.recorder import Recorder

        recorder, over = Recorder(name or socket.gethostname(), local_steps), threading.Event()
        keeping = threading.Thread(target=_keep, args=(recorder, out, kind, over), daemon=True)
        keeping.start()
        ending = None if minutes is None else threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
        if ending is not None:
            ending.daemon = True
            ending.start()
        try:
            flower_node.run(list(options), recorder)
        finally:
            over.set()
            keeping.join()
            if (device := recorder.device(kind)) is not None:
                tell([device], out)
            else:
                complain(f"too little was measured; {out} is as it was")


def _keep(recorder: Recorder, out: Path, kind: str, over: threading.Event) -> None:
    """Write the profile now and then, and when the node has ended."""
    from fl_ef21.devices.profile import save

    while True:
        ended = over.wait(EVERY)
        if (device := recorder.device(kind)) is not None:
            save(out, [device])
        if ended:
            return


def tell(devices: Sequence[Device], out: Path) -> None:
    """A line for each device on stdout, and where the profile lies."""
    for one in devices:
        away = "" if one.off_seconds == 0 else f", there {one.share:.0%} of the time"
        typer.echo(
            f"{one.name}: a step {short(one.step_seconds)} s, a message {short(one.overhead_seconds)} s besides, "
            f"up {_rate(one.up_bytes_per_second)}, down {_rate(one.down_bytes_per_second)}, "
            f"latency {1000 * one.latency_seconds:.3g} ms{away}"
        )
    typer.echo(f"\nprofile: {out}")


def _rate(rate: float) -> str:
    return "too fast to measure" if math.isinf(rate) else f"{size(rate)}/s"
