"""NVIDIA's ONNX parser and builder on a machine without a GPU, for `test_tensorrt.py`.

TensorRT's Python bindings are on PyPI, the libraries they load are not. TensorRT-RTX's libraries are, inside its plugin
for ONNX Runtime; they export the same parser and builder, and build plans without a GPU. `install` puts both in one
folder (150 MB to fetch, 320 MB on disk); run as a program inside that environment, this file answers jobs, one JSON
object a line, with what vsr's own builder makes of them there. That proves that the calls exist, that NVIDIA's parser
takes the graph, strongly typed, and that a plan can be made of it; it says nothing of speed, results, or TensorRT's
other libraries. Kernels aren't timed there, so timing caches are carried and stay empty.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

WHEELS = ("tensorrt_cu13_bindings==11.4.0.106", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
LIBRARIES = {  # what the loader asks for: which file of the plugin it is
    "libnvinfer.so.11": "libtensorrt_rtx.so.1.*",
    "libtensorrt_rtx.so.1": "libtensorrt_rtx.so.1.*",
    "libnvonnxparser.so.11": "libtensorrt_onnxparser_rtx.so.1.*",
    "libtensorrt_onnxparser_rtx.so.1": "libtensorrt_onnxparser_rtx.so.1.*",
}
NO_PLUGINS = "int initLibNvInferPlugins(void *logger, const char *name) { return 1; }"
ANSWER = "answer "  # how a line of answers begins; TensorRT writes to standard output too


def install(folder: Path) -> dict[str, str]:
    """Fetches what isn't there yet; the environment variables a process needs to `import tensorrt_bindings`.

    Raises:
        OSError, subprocess.CalledProcessError: no network, no compiler, or no wheels for this Python and machine.
    """
    python, libraries = folder / "python", folder / "lib"
    if not (folder / "complete").exists():
        python.mkdir(parents=True, exist_ok=True)
        libraries.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as fetched:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fetched, *WHEELS]
            subprocess.run(pip, check=True, capture_output=True, text=True, timeout=600)
            for wheel in Path(fetched).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(python)
        stub = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(libraries / "libnvinfer_plugin.so.11")]
        subprocess.run(stub, input=NO_PLUGINS, check=True, capture_output=True, text=True)
        for name, pattern in LIBRARIES.items():
            (libraries / name).unlink(missing_ok=True)
            (libraries / name).symlink_to(next((python / "onnxruntime_ep_nv_tensorrt_rtx").glob(pattern)))
        (folder / "complete").touch()
    return {"PYTHONPATH": str(python), "LD_LIBRARY_PATH": str(libraries)}


def asked(environment: dict[str, str], jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers, in order, of this file run in `environment`."""
    program = [sys.executable, __file__]
    lines = "\n".join(json.dumps(job) for job in jobs)
    run = subprocess.run(program, input=lines, env=environment, capture_output=True, text=True, timeout=600)
    answers = [json.loads(line.removeprefix(ANSWER)) for line in run.stdout.splitlines() if line.startswith(ANSWER)]
    assert len(answers) == len(jobs), run.stderr[-2000:]
    return answers


def answer(trt: Any, job: dict[str, Any]) -> Any:
    """`names`: those that aren't there. Else a model at `model` is built, as it is or for `frames`."""
    if "names" in job:
        return [name for name in job["names"] if not _there(trt, name)]
    from onnx import load_model

    from vsr.backends.tensorrt.builder import build, described
    from vsr.backends.tensorrt.prepare import input_shapes
    from vsr.errors import VsrError
    from vsr.graph import FrameSpec, PlanarFormat
    from vsr.models import LumaModel
    from vsr.settings import PlanSettings

    model, shares, shapes = load_model(job["model"]), [], {}
    facts = {entry.key: entry.value for entry in model.metadata_props}

    def progress(share: float, phase: str) -> None:
        shares.append(share)
        if job.get("stop") == len(shares):
            raise KeyboardInterrupt(phase)

    settings = PlanSettings(**job.get("settings", {}))
    try:
        if "frames" in job:
            chroma, depth, width, height = job["frames"]
            luma = LumaModel(proto=model, scale=int(facts["vsr.scale"]), radius=None, peak=float(facts["vsr.peak"]))
            format, surfaces = PlanarFormat(chroma=chroma, depth=depth), job.get("surfaces", False)
            spec = FrameSpec(format=format, width=width, height=height, surfaces=surfaces)
            model = described(luma, spec, job["precision"], any_size=bool(settings.sizes))
            shapes = input_shapes(spec, settings)
        plan, timing = build(trt, model, settings, shapes=shapes, timing=b"not a timing cache", progress=progress)
    except (VsrError, KeyboardInterrupt) as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {"plan": len(plan), "timing": len(timing), "shares": shares}


def _there(trt: Any, name: str) -> bool:
    thing = trt
    for part in name.split("."):
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


if __name__ == "__main__":
    import tensorrt_bindings

    for line in sys.stdin:
        print(ANSWER + json.dumps(answer(tensorrt_bindings, json.loads(line))), flush=True)
