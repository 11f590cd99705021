"""`python -m devkit.install`: render deploy/install.yaml, or `--check` that it is up to date.

One file to apply, and no part of it is written twice: the CRDs come from the models, everything else from
deploy/operator.yaml. The namespace comes first, and the CRDs before the operator that waits for them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from teal.api import crd

FOLDER = Path(__file__).resolve().parents[1] / "deploy"
HEADER = (
    "# Rendered by `make crds` from deploy/operator.yaml and operator/teal/api. Change those, not this file.\n"
)
SEPARATOR = "---\n"


def render() -> str:
    """The required content of deploy/install.yaml."""
    namespace, *operator = (FOLDER / "operator.yaml").read_text().split(SEPARATOR)
    return HEADER + SEPARATOR.join([namespace, *crd.render().values(), *operator])


def main() -> int:
    """Returns 1 if `--check` is given and there is a difference."""
    file = FOLDER / "install.yaml"
    if "--check" not in sys.argv[1:]:
        file.write_text(render())
    elif not file.exists() or file.read_text() != render():
        print(f"{file.name} is out of date: run `make crds` and commit the result.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
