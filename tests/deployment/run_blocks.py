"""Writes the `run` blocks of workflows into a folder, each as a script of its own: run_blocks.py FOLDER WORKFLOW …"""

import re
import sys
from pathlib import Path

import yaml

folder = Path(sys.argv[1])
for name in sys.argv[2:]:
    workflow = Path(name).read_text()
    written = 0
    for job, definition in yaml.safe_load(workflow)["jobs"].items():
        for number, step in enumerate(definition.get("steps", []), 1):
            if "run" in step:
                assert "shell" not in step, f"{name}: {job} has a step for another shell"
                # GitHub's own default, and what it would put in place of an expression.
                script = "#!/bin/bash -e\n" + re.sub(r"\${{.*?}}", "expression", step["run"])
                (folder / f"{Path(name).stem}-{job}-{number}").write_text(script)
                written += 1
    assert written == len(re.findall(r"^ +(?:- )?run:", workflow, re.MULTILINE)), f"{name}: not all blocks were found"
