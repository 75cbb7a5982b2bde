"""The flow `pipeline` under a real Prefect server: tasks, retries, logs, artifacts."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, LogFilter

from umgclip.flows import runtime
from umgclip.flows.pipeline import pipeline

pytestmark = pytest.mark.heavy


def of_run(flow_run_id) -> FlowRunFilter:
    return FlowRunFilter(id={"any_": [flow_run_id]})


def tasks(state) -> dict[str, tuple[str, int]]:
    """State and number of attempts of each task of a flow run."""
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=of_run(state.state_details.flow_run_id))
    return {run.name: (run.state.name, run.run_count) for run in runs}


def lines_of(run_id) -> list[str]:
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(LogFilter(flow_run_id={"any_": [run_id]}))]


def test_every_stage_is_a_task_with_its_lines_and_results(server, project, wait_until):
    state = pipeline(return_state=True)
    assert state.is_completed(), state.message
    run_id = state.state_details.flow_run_id
    names = ("base", "train", "evaluate", "register")
    assert tasks(state) == {name: ("Completed", 1) for name in names}
    # one entry a line; Prefect sends them a little later
    wanted = {f"{name}: {name}: starting" for name in names}
    assert wait_until(lambda: wanted <= set(lines_of(run_id)), 60)
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id={"any_": [run_id]}))
    keys = {artifact.key: artifact for artifact in artifacts}
    assert set(keys) == {"umgclip-stages", "umgclip-metrics", "umgclip-run", "umgclip-progress"}
    assert "region.mask_top1" in keys["umgclip-metrics"].data
    assert "MLflow run: " in keys["umgclip-run"].data
    assert keys["umgclip-progress"].data == 100


def test_retries_are_for_infrastructure_and_never_for_gates(server, project):
    (project.desk / "base.exit").write_text("6")
    (project.desk / "train.exit").write_text("4\n4\n4")
    state = pipeline("train", return_state=True)
    assert state.is_failed()
    assert "exit code 4" in state.message
    assert tasks(state) == {"base": ("Completed", 2), "train": ("Failed", 1)}
    assert project.ran() == ["base", "base", "train"]


def test_the_command_line_uses_the_server_that_is_set(server, project):
    assert runtime.served()
    assert runtime.start(pipeline, "base")["stages"] == {"base": "ran"}
    with get_client(sync_client=True) as client:
        assert any(run.parameters.get("target") == "base" for run in client.read_flow_runs())
