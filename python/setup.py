"""Builds the compiled module by the project's own CMake: the rest is in pyproject.toml."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

project = Path(__file__).resolve().parent.parent


class CMakeBuild(build_ext):
    """Has CMake build the one extension for the interpreter that runs this."""

    def build_extension(self, ext: Extension) -> None:
        folder = Path(self.build_temp).resolve()
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "MARU_TESTS": "OFF",
            "MARU_BENCH": "OFF",
            "MARU_PYTHON": "ON",
            "MARU_WERROR": "OFF",  # what a newer compiler has to say must not keep anybody from installing
            "Python3_EXECUTABLE": sys.executable,
        }
        given = [f"-D{name}={value}" for name, value in options.items()]
        subprocess.run(["cmake", "-S", str(project), "-B", str(folder), "-G", "Ninja", *given], check=True)
        subprocess.run(["cmake", "--build", str(folder), "--target", "maru_python"], check=True)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / "python" / "maru_handler" / target.name, target)


def version() -> str:
    """The version in the project() line."""
    found = re.search(r"project\(maru VERSION (\S+)", (project / "CMakeLists.txt").read_text())
    assert found, "CMakeLists.txt has no version"
    return found.group(1)


setup(version=version(), ext_modules=[Extension("maru_handler._maru", sources=[])], cmdclass={"build_ext": CMakeBuild})
