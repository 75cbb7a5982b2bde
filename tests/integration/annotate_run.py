"""The stage `annotate` as a process that can be killed: `python annotate_run.py DATA BASE OUT PARAMS_JSON`."""

import sys
from pathlib import Path

from umgclip.annotate import stage
from umgclip.errors import UmgclipError
from umgclip.params import AnnotateParams

if __name__ == "__main__":
    data, base, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    inputs = stage.AnnotateInputs(data if data.startswith("s3://") else Path(data), base, out.with_suffix(".json"))
    try:
        stage.run(AnnotateParams.model_validate_json(sys.argv[4]), inputs, out)
    except UmgclipError as error:
        sys.exit(f"{type(error).__name__}: {error}")
