"""Builds the extension module fastloop._fastloop; everything else stands in pyproject.toml.

Environment variables, for development and CI:

FASTLOOP_WERROR=1                       every compiler warning is an error
FASTLOOP_SANITIZE=address,undefined     instrument with these sanitizers, with asserts, hardly optimised
FASTLOOP_DEFINES=FL_RING_INITIAL=2,...  set build-time sizes, so that tests meet rare paths often
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

ROOT = "src/_fastloop"
LANGUAGE = ["-std=c11", "-fvisibility=hidden", "-fno-semantic-interposition"]
OPTIMIZE = ["-O3"]
LTO = ["-flto=auto"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def files(suffix):
    return sorted(str(path) for path in Path(ROOT).rglob(f"*{suffix}"))


def listed(variable):
    return [item.strip() for item in os.environ.get(variable, "").split(",") if item.strip()]


def defined_sizes():
    return [
        (name, value or None)
        for name, _, value in (item.partition("=") for item in listed("FASTLOOP_DEFINES"))
    ]


def sanitizer_flags():
    sanitizers = listed("FASTLOOP_SANITIZE")
    if not sanitizers:
        return []
    return ["-g", "-O1", "-fno-omit-frame-pointer", "-UNDEBUG", f"-fsanitize={','.join(sanitizers)}"]


class BuildExt(build_ext):
    """Compiles the sources side by side, with link-time optimisation where the compiler has it."""

    def build_extension(self, ext):
        flags = sanitizer_flags() or OPTIMIZE + (LTO if self.compiler_accepts(LTO) else [])
        if os.environ.get("FASTLOOP_WERROR") == "1":
            flags += WARNINGS
        ext.extra_compile_args = LANGUAGE + flags
        ext.extra_link_args = flags
        compile_in_turn = self.compiler.compile
        self.compiler.compile = lambda sources, **options: self.compile_at_once(
            compile_in_turn, sources, options
        )
        super().build_extension(ext)

    def compile_at_once(self, compile_in_turn, sources, options):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = pool.map(lambda source: compile_in_turn([source], **options), sources)
            return list(chain.from_iterable(objects))

    def compiler_accepts(self, flags):
        """Whether a shared object can be compiled and linked with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("int probe(void) { return 0; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                self.compiler.link_shared_object(objects, str(Path(folder, "probe.so")), extra_postargs=flags)
            except (CompileError, LinkError):
                return False
            return True


# A build folder left in the tree would serve objects of other flags and files since deleted, and two
# builds at a time would meet in it; a whole build takes seconds.
with tempfile.TemporaryDirectory(prefix="fastloop-build-") as build_base:
    setup(
        ext_modules=[
            Extension(
                "fastloop._fastloop",
                files(".c"),
                include_dirs=[ROOT],
                define_macros=[("_GNU_SOURCE", "1"), *defined_sizes()],
                depends=files(".h"),
            )
        ],
        cmdclass={"build_ext": BuildExt},
        options={"build": {"build_base": build_base}, "egg_info": {"egg_base": build_base}},
    )
