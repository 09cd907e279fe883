"""Draw what runs when in one `thorax predict`, and in which thread.

    python tests/benchmarks/timeline.py timeline.png [--scan CT] [--model MODEL]

A child process runs the command while a thread of it looks every 2 ms at which step each other
thread is in. Without a scan, it is a synthetic chest of 512×512×304 voxels.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

INTERVAL = 0.002

STEPS = {
    ("cached_scan.py", "slabs"): "read",
    ("scan.py", "planes"): "read",
    ("segmenter.py", "load"): "load the model",
    ("body.py", "coarse_planes"): "coarse planes",
    ("intensity_detection.py", "detect_intensity_of_scan"): "detect the intensity scale",
    ("body.py", "body_box"): "locate body and lungs",
    ("body.py", "_air_inside"): "locate body and lungs",
    ("patient_orientation.py", "find_orientation"): "check the orientation",
    ("placement.py", "place_crop"): "place on the canvas",
    ("openvino_engine.py", "probabilities"): "network",
    ("onnxruntime_engine.py", "probabilities"): "network",
    ("postprocessing.py", "postprocess"): "postprocess",
    ("quality.py", "quality_scores"): "quality checks",
    ("segmenter.py", "_sides"): "right and left",
    ("outputs.py", "_restore_slab"): "restore",
    ("measurements.py", "add"): "measure",
    ("outputs.py", "_write_slab"): "compress and write",
    ("preview.py", "draw"): "preview",
    ("<frozen importlib._bootstrap>", "_find_and_load"): "import packages",
}
"""File and function → step; the innermost one counts."""

STARTUP, EXIT, OTHER = "start Python", "end Python", "other"

WAITING = {("threading.py", "wait"), ("threading.py", "_wait_for_tstate_lock")}
WAITING |= {("thread.py", "_worker"), ("threading.py", "join")}

Bar = tuple[str, str, float, float]
"""Step, thread, and seconds of its start and end."""


def main() -> None:
    """Run the command, print the seconds of each step, and draw them."""
    from measuring import make_scan, say

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--model", default="lungs")
    parser.add_argument("--runs", type=int, default=3, help="the fastest one is drawn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = options.scan or folder / "scan.nii.gz"
        if not options.scan:
            make_scan(0, (512, 512, 304), scan, folder / "truth.nii.gz")
        runs = [run(scan, folder, options.model) for _ in range(options.runs)]
    bars = min(runs, key=last_end)
    totals: defaultdict[str, float] = defaultdict(float)
    for step, _, start, end in bars:
        totals[step] += end - start
    for step, seconds in totals.items():
        say(f"{step:<28} {seconds:5.2f} s")
    say(f"{'whole process':<28} {last_end(bars):5.2f} s")
    draw(bars, options.picture)


def last_end(bars: list[Bar]) -> float:
    """Return the seconds at which the process ended."""
    return max(end for *_, end in bars)


def run(scan: Path, folder: Path, model: str) -> list[Bar]:
    """Run the command once in a child process."""
    from measuring import keeping_compiled

    log = folder / "bars.json"
    arguments = [str(scan), str(folder / "mask.nii.gz"), "--model", model, "--force"]
    begin = time.time()
    command = [sys.executable, __file__, "--child", str(log), "predict", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=keeping_compiled())
    stop = time.time()
    bars = [(step, name, start - begin, end - begin) for step, name, start, end in read(log)]
    first, last = min(start for _, _, start, _ in bars), last_end(bars)
    return [(STARTUP, "MainThread", 0.0, first), *bars, (EXIT, "MainThread", last, stop - begin)]


def read(log: Path) -> list[Bar]:
    """Read the bars of the child process, in seconds since the epoch."""
    return [tuple(bar) for bar in json.loads(log.read_text())]


def child(log: Path, arguments: list[str]) -> None:
    """Run the command and save which step each thread was in."""
    samples: list[tuple[float, dict[str, str]]] = []
    ended = threading.Event()
    sampler = threading.Thread(target=sample, args=(samples, ended))
    sampler.start()
    from thorax.cli import main as command

    try:
        command(arguments, standalone_mode=False)
    finally:
        ended.set()
        sampler.join()
        log.write_text(json.dumps(as_bars(samples)))


def sample(samples: list[tuple[float, dict[str, str]]], ended: threading.Event) -> None:
    """Record the step of each thread until the event is set."""
    me = threading.get_ident()
    while not ended.wait(INTERVAL):
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        steps = {
            names.get(ident, "?"): step
            for ident, frame in sys._current_frames().items()
            if ident != me and (step := step_of(frame))
        }
        samples.append((time.time(), steps))


def step_of(frame: FrameType) -> str:
    """Return the step of the innermost known function; empty for a thread that waits."""
    innermost = place_of(frame)
    current: FrameType | None = frame
    while current is not None:
        step = STEPS.get(place_of(current))
        if step and not (innermost in WAITING and step != "network"):
            return step
        current = current.f_back
    return "" if innermost in WAITING else OTHER


def place_of(frame: FrameType) -> tuple[str, str]:
    """Return file name and function of a frame."""
    code = frame.f_code
    return Path(code.co_filename).name, code.co_name


def as_bars(samples: list[tuple[float, dict[str, str]]]) -> list[Bar]:
    """Join consecutive samples of the same step and thread."""
    bars: list[Bar] = []
    open_bars: dict[str, tuple[str, float]] = {}
    for moment, steps in [*samples, (samples[-1][0] + INTERVAL, {})]:
        for thread in {*open_bars, *steps}:
            step = steps.get(thread)
            if thread in open_bars and open_bars[thread][0] != step:
                before, start = open_bars.pop(thread)
                bars.append((before, thread, start, moment))
            if step and thread not in open_bars:
                open_bars[thread] = step, moment
    return bars


def draw(bars: list[Bar], path: Path) -> None:
    """Draw one line per thread and one colour per step."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    first_start: dict[str, float] = {}
    for _, thread, start, _ in bars:
        first_start[thread] = min(start, first_start.get(thread, start))
    threads = sorted(first_start, key=first_start.__getitem__)
    steps = [step for step in dict.fromkeys(bar[0] for bar in bars) if step != OTHER]
    palette = colormaps["tab20"].colors
    colours = {step: palette[number % 20] for number, step in enumerate(steps)} | {OTHER: "0.85"}
    figure = Figure((11.0, 1.6 + 0.32 * len(threads)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for step, thread, start, end in bars:
        row = threads.index(thread)
        axes.barh(row, end - start, left=start, height=0.8, color=colours[step])
    axes.set_yticks(range(len(threads)), ["main", *(f"thread {n}" for n in range(1, len(threads)))])
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the command was started")
    axes.set_xlim(0.0, last_end(bars))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles = [Patch(color=colours[step], label=step) for step in steps]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
