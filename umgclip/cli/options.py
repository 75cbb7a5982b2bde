"""Options that several commands have, and the paths that they have when nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def local_or_s3(where: str | Path) -> Path | str:
    """A local path, or the URL of what lies in S3."""
    return where if isinstance(where, str) and where.startswith("s3://") else Path(where)


Params = Annotated[Path, typer.Option("--params", help="the parameter file")]
Out = Annotated[Path, typer.Option("--out", help="the folder to make; an old one is replaced")]
Metrics = Annotated[Path, typer.Option("--metrics", help="the JSON file of metrics to write")]
Data = Annotated[Path, typer.Option("--data", help="folder with the datasets train and benchmark")]
DataLocation = Annotated[
    Any,
    typer.Option(
        "--data",
        parser=local_or_s3,
        metavar="PATH",
        help="folder or s3:// prefix with the datasets train and benchmark",
    ),
]
Base = Annotated[Path, typer.Option("--base", help="folder that the stage base wrote")]
Annotations = Annotated[Path, typer.Option("--annotations", help="annotated training dataset")]
Benchmark = Annotated[Path, typer.Option("--benchmark", help="dataset with truth")]
Vocabulary = Annotated[Path, typer.Option("--vocabulary", help="concepts that annotate drew from the alt texts")]
Concepts = Annotated[
    Path | None, typer.Option("--vocabulary", help="file of concepts, for one run; else the one that params.yaml names")
]
Where = Annotated[str, typer.Argument(help="a dataset or a folder of datasets, local or s3://BUCKET/PREFIX")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would happen")]
Quarantine = Annotated[Path, typer.Option("--quarantine", help="rows that validate took out")]
Discard = Annotated[
    bool,
    typer.Option(
        "--discard-checkpoint",
        envvar="UMGCLIP_DISCARD_CHECKPOINT",
        help="begin again, also where a killed run could go on",
    ),
]
Adapter = Annotated[Path, typer.Option("--adapter", help="folder that the stage train wrote")]

PARAMS = Path("params.yaml")
DATA = Path("data")
ARTIFACTS = Path("artifacts")
METRICS = Path("metrics")
