"""The files of a registered model in MLflow: adapter, base, and the code that reads them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Object, Property

import umgclip
from umgclip.inference.base_files import can_be_fetched
from umgclip.inference.folder import CARD, VOCABULARY
from umgclip.inference.interface import ANSWER, FIELDS
from umgclip.model.clip.layout import ADAPTER, BASE_REPORT, CONFIG, TOKENIZER_FILES, TRAIN_REPORT, WEIGHTS
from umgclip.params import RegisterParams
from umgclip.tracking import Run, environment

MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")
_REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "open_clip_torch",
    "peft",
    "safetensors",
    "numpy",
    "pandas",
    "pillow",
    "opencv-contrib-python-headless",
    "pycocotools",
    "pydantic",
    "jaxtyping",
    "ruamel.yaml",
    "tqdm",
)


def signature() -> ModelSignature:
    """Return the MLflow signature with the columns of requests and answers.

    Request columns are of type "any": with other types MLflow's own check would refuse whole numbers in boxes, rows
    without labels, and either bytes or base64. The model checks requests itself.
    """
    vector = Array(DataType.double)
    rows = Array(vector)
    tag = Object([Property("label", DataType.string), Property("score", DataType.double)])
    kinds = {
        "embedding": vector,
        "label_scores": vector,
        "box_label_scores": rows,
        "mask_label_scores": rows,
        "box_embeddings": rows,
        "mask_embeddings": rows,
        "tags": Array(tag),
        "similarity_map": Array(rows),
    }
    inputs: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=name == "image") for name in FIELDS]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kinds[name], name, required=name == "embedding") for name in ANSWER]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def log_bundle(params: RegisterParams, base: Path, train: Path, documents: Path) -> str:
    """Log the model under the `active` run and return its MLflow id (`m-...`).

    Args:
        params: the section `register`.
        base: folder of the stage `base`.
        train: folder of the stage `train`.
        documents: folder with the model card, and with the vocabulary if there is one.
    """
    artifacts = {
        "adapter": train / ADAPTER,
        "train_report": train / TRAIN_REPORT,  # load_tuned checks the base against it
        "base_config": base / CONFIG,
        "base_report": base / BASE_REPORT,
        "model_card": documents / CARD,
    }
    if (documents / VOCABULARY).is_file():
        artifacts["vocabulary"] = documents / VOCABULARY
    tokenizer = {f"tokenizer_{name}": base / name for name in TOKENIZER_FILES if (base / name).is_file()}
    artifacts |= tokenizer
    include = params.include_base_weights
    if include or (include is None and not can_be_fetched(base)):
        artifacts["base_weights"] = base / WEIGHTS
    info = mlflow.pyfunc.log_model(
        name=params.name,
        python_model=str(MODEL_CODE),
        artifacts={name: str(path) for name, path in artifacts.items()},
        code_paths=[str(Path(umgclip.__file__).parent)],
        signature=signature(),
        model_config={"template": params.template, "box_share": params.box_share},
        pip_requirements=[
            f"{name}=={metadata.version(name)}" for name in (*_REQUIREMENTS, *(("transformers",) if tokenizer else ()))
        ],
    )
    return str(info.model_id)


@contextmanager
def active(run: Run) -> Iterator[None]:
    """Make a run and its store the active ones of MLflow's global state, and restore the state afterwards.

    `log_model` and `models:/m-...` sources use MLflow's global state only.
    """
    settings = {"MLFLOW_TRACKING_URI": run.store.uri, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with environment(settings), _quiet():
        mlflow.set_tracking_uri(run.store.uri)
        mlflow.start_run(run_id=run.run_id)
        try:
            yield
        finally:
            mlflow.end_run("RUNNING")  # only deactivates it; the caller ends the run
            mlflow.set_tracking_uri(None)  # None: use the environment variable


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress two warnings that are expected here: no pip in the virtual environment, and no input example."""
    logger = logging.getLogger("mlflow.utils.environment")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input example was not provided")
            yield
    finally:
        logger.setLevel(level)
