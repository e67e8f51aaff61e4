"""NVIDIA's ONNX parser and builder on a machine without a GPU, for `test_tensorrt.py`.

TensorRT's Python bindings are on PyPI, the libraries they load are not. TensorRT-RTX's libraries are, inside its plugin
for ONNX Runtime; they export the same parser and builder, and build plans without a GPU. `install` puts both in one
folder (150 MB to fetch, 320 MB on disk); run as a program inside that environment, this file builds a plan of each
ONNX file given. That proves that NVIDIA's parser takes the graph, strongly typed, and that a plan can be made of it; it
says nothing of speed, results, or TensorRT's other libraries.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = ("tensorrt_cu13_bindings==11.4.0.106", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
LIBRARIES = {  # what the loader asks for: which file of the plugin it is
    "libnvinfer.so.11": "libtensorrt_rtx.so.1.*",
    "libtensorrt_rtx.so.1": "libtensorrt_rtx.so.1.*",
    "libnvonnxparser.so.11": "libtensorrt_onnxparser_rtx.so.1.*",
    "libtensorrt_onnxparser_rtx.so.1": "libtensorrt_onnxparser_rtx.so.1.*",
}
NO_PLUGINS = "int initLibNvInferPlugins(void *logger, const char *name) { return 1; }"


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


def build(path: Path) -> str:
    """Parses and builds one model; a line saying how large its plan is, or what the parser said."""
    import tensorrt_bindings as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        return f"{path.stem}: refused: {' '.join(str(parser.get_error(i)) for i in range(parser.num_errors))}"
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    return f"{path.stem}: {'no plan' if plan is None else f'plan of {plan.nbytes} bytes'}"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(build(Path(argument)), flush=True)
