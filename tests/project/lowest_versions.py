"""Prints the oldest version of each dependency that `pyproject.toml` allows, as constraints for pip.

CONTRIBUTING.md says how the suite is run with them.
"""

from __future__ import annotations

import tomllib
from itertools import chain

from packaging.requirements import Requirement
from project_tree import ROOT


def lowest_versions() -> list[str]:
    """`name==version` for every requirement of the project and its extras that has a lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in map(Requirement, required)
        for bound in requirement.specifier
        if bound.operator == ">="
    ]


if __name__ == "__main__":
    print("\n".join(lowest_versions()))
