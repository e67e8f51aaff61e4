"""Lists the packages; all other metadata is in pyproject.toml."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["vsr", "vsr.*"]), "vsr.engines"],
    package_dir={"vsr.engines": "engines"},
    package_data={
        "vsr": ["py.typed"],
        "vsr.training": ["recipes/*.toml"],
        "vsr.engines": ["*.onnx", "manifest.json", "README.md"],
    },
)
