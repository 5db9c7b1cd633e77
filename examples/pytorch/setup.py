"""Builds the operators: `pip install --no-build-isolation .`, with torch installed and gemmill.pc where pkg-config
finds it."""

import shlex
import subprocess

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension


def pkg_config(*options: str) -> list[str]:
    """What pkg-config says of the installed library (see ffi/install)."""
    output = subprocess.run(["pkg-config", *options, "gemmill"], check=True, stdout=subprocess.PIPE, text=True)
    return shlex.split(output.stdout)


setup(
    name="gemmill-torch",
    version="0.2.0",
    description="Matrix products of low precision on x86 CPUs, as operators of PyTorch",
    package_dir={"": "src"},
    packages=["gemmill_torch"],
    python_requires=">=3.10",
    ext_modules=[
        CppExtension(
            "gemmill_torch._operators",
            [
                "csrc/int8_mm.cpp",
                "csrc/linear.cpp",
                "csrc/linear_float.cpp",
                "csrc/linear_int4.cpp",
                "csrc/loaded.cpp",
                "csrc/measure.cpp",
                "csrc/threads.cpp",
            ],
            # at::parallel_for is a template of OpenMP. Its runtime is the one that torch brings along: not linked here.
            extra_compile_args=["-O2", "-fopenmp", "-Wall", "-Wextra", *pkg_config("--cflags")],
            extra_link_args=[*pkg_config("--libs"), f"-Wl,-rpath,{pkg_config('--variable=libdir')[0]}"],
        )
    ],
    cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
)
