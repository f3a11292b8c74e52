"""Run at the start of every notebook that the site executes: ``%%bash`` cells print whole lines, without colours.

The pages would otherwise cut the output of ``%%bash`` into pieces of a hundred characters. The progress of commands
(their standard error) is left out, unless a command fails.
"""

import os
import subprocess

from IPython.core.magic import register_cell_magic


@register_cell_magic
def bash(_line: str, cell: str) -> None:
    """Run the cell; stop the notebook at the first line that fails."""
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", cell], capture_output=True, text=True, env=plain, check=False
    )
    print(done.stdout, end="")  # noqa: T201
    if done.returncode:
        raise RuntimeError(done.stderr)
