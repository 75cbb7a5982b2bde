"""Options that several commands share, and their default paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from umgclip.cli.habits import completion


def local_or_s3(where: str | Path) -> Path | str:
    """Return an `s3://` URL as it is, and anything else as a local path."""
    return where if isinstance(where, str) and where.startswith("s3://") else Path(where)


Params = Annotated[Path, typer.Option("--params", help="parameter file")]
Out = Annotated[Path, typer.Option("--out", help="folder to create; an existing one is replaced")]
Metrics = Annotated[Path, typer.Option("--metrics", help="JSON file of metrics to write")]
Data = Annotated[
    Path,
    typer.Option("--data", help="folder with the datasets train and benchmark", autocompletion=completion.datasets),
]
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
Annotations = Annotated[
    Path, typer.Option("--annotations", help="annotated training dataset", autocompletion=completion.datasets)
]
Benchmark = Annotated[
    Path, typer.Option("--benchmark", help="dataset with ground truth", autocompletion=completion.datasets)
]
Vocabulary = Annotated[Path, typer.Option("--vocabulary", help="concepts that annotate extracted from the alt texts")]
Concepts = Annotated[
    Path | None,
    typer.Option("--vocabulary", help="file of concepts for this run; default: the one that params.yaml names"),
]
Where = Annotated[
    str,
    typer.Argument(
        help="a dataset or a folder of datasets, local or s3://BUCKET/PREFIX", autocompletion=completion.datasets
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would happen and change nothing")]
Quarantine = Annotated[Path, typer.Option("--quarantine", help="rows that validate excluded")]
Discard = Annotated[
    bool,
    typer.Option(
        "--discard-checkpoint",
        envvar="UMGCLIP_DISCARD_CHECKPOINT",
        help="start from the beginning even if the checkpoint of a killed run could be resumed",
    ),
]
Adapter = Annotated[Path, typer.Option("--adapter", help="folder that the stage train wrote")]

PARAMS = Path("params.yaml")
DATA = Path("data")
ARTIFACTS = Path("artifacts")
METRICS = Path("metrics")
SPLITS = "train", "benchmark"
