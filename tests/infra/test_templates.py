"""Base job templates: every variable is used, and what they render to is what Kubernetes and ECS accept.

Rendered with Prefect's own templating; checked with the schema of Kubernetes' API and botocore's model of ECS.
"""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from botocore.validate import ParamValidator
from prefect.utilities.templating import apply_values, find_placeholders

from infra.pools import TEMPLATES, read_pools

CUDA = TEMPLATES.parent / "docker" / "cuda.Dockerfile"
FILES = sorted(path.name for path in TEMPLATES.glob("*.json"))
# given by every worker, whatever the template declares
GIVEN = {"name", "env", "labels", "command"}
# Prefect's Kubernetes worker refuses a manifest without these, although they belong one level up
OF_PREFECT = ("parallelism", "completions")


def _template(name: str) -> dict[str, Any]:
    return json.loads((TEMPLATES / name).read_text(encoding="utf-8"))


def _rendered(file: str, /, **values: Any) -> dict[str, Any]:
    """Render a template like a worker: defaults, then the deployment's values; unset values are left out."""
    template = _template(file)
    declared = template["variables"]["properties"]
    unknown = set(values) - set(declared)
    assert not unknown, f"not declared: {unknown}"
    defaults = {key: field["default"] for key, field in declared.items() if field.get("default") is not None}
    jsonschema.validate(defaults | values, template["variables"])
    return apply_values(template["job_configuration"], defaults | values)


def _valid_job(manifest: dict[str, Any]) -> None:
    pod = manifest["spec"]["template"]["spec"]
    for field in OF_PREFECT:
        assert pod.pop(field) == 1
    schema = json.loads((Path(__file__).parent / "kubernetes-1.37-job.json").read_text(encoding="utf-8"))
    jsonschema.validate(manifest, schema)


def test_every_template_belongs_to_a_pool():
    assert sorted(pool.template for pool in read_pools().work_pools.values() if pool.template) == FILES


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_used_and_every_placeholder_declared(name: str):
    template = _template(name)
    declared = set(template["variables"]["properties"])
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}

    # Prefect says nothing of a variable that is not used: its value would have no effect
    assert declared == used
    assert declared >= GIVEN


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_explained_and_its_default_and_examples_fit(name: str):
    variables = _template(name)["variables"]
    jsonschema.Draft202012Validator.check_schema(variables)

    for key, field in variables["properties"].items():
        assert field.get("title"), key
        assert field.get("description"), key
        for value in (*([field["default"]] if "default" in field else []), *field.get("examples", [])):
            jsonschema.validate({key: value}, {**variables, "required": [key]})


def test_a_kubernetes_job_asks_for_a_gpu_and_has_room_for_batches():
    manifest = _rendered("kubernetes-gpu.json", name="train", image="x/cuda:1", gpu_count=2)["job_manifest"]
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert volumes[mounts["/dev/shm"]] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert set(mounts.values()) == set(volumes)
    assert pod["securityContext"]["runAsNonRoot"]
    assert manifest["metadata"]["generateName"] == "train-"
    _valid_job({**manifest, "spec": {**manifest["spec"]}})


def test_a_kubernetes_job_with_every_variable_set_is_valid():
    values = {
        "name": "train", "image": "x/cuda:1", "namespace": "ml", "service_account_name": "umgclip", "command": None,
        "labels": {"team": "vision"}, "annotations": {"a": "b"}, "gpu_count": 8, "cpu_limit": "16",
        "node_selector": {"karpenter.sh/capacity-type": "spot"}, "priority_class_name": "low",
        "tolerations": [{"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
        "shared_memory": "32Gi", "work_disk": "1Ti", "grace_seconds": 25, "secret_name": "other", "backoff_limit": 3,
        "nodes": 2, "image_pull_secrets": [{"name": "registry"}], "runtime_class_name": "nvidia", "scratch_disk": "1Gi",
    }  # fmt: skip
    manifest = _rendered("kubernetes-gpu.json", **values)["job_manifest"]
    # the worker turns the mapping into Kubernetes' list
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]

    assert manifest["spec"]["template"]["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "spot"}
    assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 25
    assert manifest["spec"]["backoffLimit"] == 3
    assert manifest["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert manifest["spec"]["template"]["spec"]["runtimeClassName"] == "nvidia"
    _valid_job(manifest)


def test_the_nodes_of_a_stage_are_pods_of_one_indexed_job():
    manifest = _rendered("kubernetes-gpu.json", name="train", image="x/cuda:1", nodes=4)["job_manifest"]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]

    assert [manifest["spec"][field] for field in ("completionMode", "completions", "parallelism")] == ["Indexed", 4, 4]
    # the entry of the image, which tells the first pod from the others by its index
    assert container["command"] == ["tini", "--", "umgclip-node"]
    entry = "infra/docker/umgclip-node"
    assert f"COPY --chmod=755 {entry} /usr/local/bin/umgclip-node" in CUDA.read_text(encoding="utf-8")
    assert (TEMPLATES.parents[1] / entry).stat().st_mode & 0o111
    _valid_job(manifest)
    assert _rendered("kubernetes-gpu.json")["job_manifest"]["spec"]["parallelism"] == 1


def test_a_kubernetes_job_can_write_to_volumes_only_and_has_no_rights():
    pod = _rendered("kubernetes-gpu.json", image="x/cuda:1")["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}

    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert mounts == {"/dev/shm", "/srv/umgclip", *_written_by(CUDA)}
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"])
    assert not pod["automountServiceAccountToken"]
    assert "runtimeClassName" not in pod
    assert pod["imagePullSecrets"] == []


def _written_by(dockerfile: Path) -> set[str]:
    """Return the folders besides the work folder to which the image's user writes: its home and temporary files."""
    (user,) = re.findall(r"useradd .*--create-home (\S+)", dockerfile.read_text(encoding="utf-8"))
    return {f"/home/{user}", "/tmp"}


def test_the_schema_of_kubernetes_would_notice_a_mistake():
    manifest = _rendered("kubernetes-gpu.json", name="train", image="x/cuda:1")["job_manifest"]
    manifest["spec"]["template"]["spec"]["toleration"] = []

    with pytest.raises(jsonschema.ValidationError, match="toleration"):
        _valid_job(manifest)


def test_an_evicted_pod_is_prefects_to_schedule_again():
    # Prefect's worker sets the behaviour on SIGTERM by this number: 0 schedules the run again
    assert _rendered("kubernetes-gpu.json")["job_manifest"]["spec"]["backoffLimit"] == 0
    assert _rendered("kubernetes-gpu.json")["pod_watch_timeout_seconds"] >= 600, "a GPU node takes minutes to come"


def _ecs_shape(operation: str) -> Any:
    client = boto3.client("ecs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    return client.meta.service_model.operation_model(operation).input_shape


def _errors(request: dict[str, Any], operation: str) -> str:
    return ParamValidator().validate(request, _ecs_shape(operation)).generate_report()


def _definition(rendered: dict[str, Any]) -> dict[str, Any]:
    definition = rendered["task_definition"]
    return {**definition, **{key: str(definition[key]) for key in ("cpu", "memory")}}  # as the worker does


def test_an_ecs_task_runs_on_ec2_with_a_gpu_and_room_for_batches():
    rendered = _rendered("ecs-gpu.json", image="x/cuda:1", cluster="ml", gpu_count="4", shared_memory_mib=16384)
    definition, request = _definition(rendered), rendered["task_run_request"]
    (container,) = definition["containerDefinitions"]

    assert definition["requiresCompatibilities"] == ["EC2"]
    assert request["launchType"] == "EC2"
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "4"}]
    assert container["linuxParameters"]["sharedMemorySize"] == 16384
    assert _errors(definition, "RegisterTaskDefinition") == ""
    # the worker fills in these two and turns the mappings into lists
    override = request["overrides"]["containerOverrides"][0]
    request |= {"taskDefinition": "umgclip-gpu:1", "tags": []}
    override |= {"environment": [{"name": "A", "value": "1"}], "command": ["prefect", "flow-run", "execute"]}
    request["overrides"] |= {key: str(request["overrides"][key]) for key in ("cpu", "memory")}
    assert _errors(request, "RunTask") == ""


def test_a_spot_task_has_its_capacity_provider_secrets_and_two_minutes():
    strategy = [{"capacityProvider": "gpu-spot", "weight": 1, "base": 0}]
    secrets = [{"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": "arn:aws:secretsmanager:eu-west-1:1:secret:x"}]
    constraints = [{"type": "memberOf", "expression": "attribute:ecs.instance-type =~ g6.*"}]
    rendered = _rendered(
        "ecs-gpu.json",
        image="x/cuda:1",
        capacity_provider_strategy=strategy,
        secrets=secrets,
        placement_constraints=constraints,
    )
    container = rendered["task_definition"]["containerDefinitions"][0]

    assert rendered["task_run_request"]["capacityProviderStrategy"] == strategy
    assert rendered["task_run_request"]["placementConstraints"] == constraints
    assert container["secrets"] == secrets
    assert container["stopTimeout"] <= 120, "ECS allows no more, and AWS takes a spot instance back after that"
    assert rendered["env"]["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert _errors(_definition(rendered), "RegisterTaskDefinition") == ""


def test_an_ecs_task_is_not_root_and_can_write_to_volumes_only():
    definition = _definition(_rendered("ecs-gpu.json", image="x/cuda:1"))
    (container,) = definition["containerDefinitions"]
    mounts = {mount["containerPath"]: mount["sourceVolume"] for mount in container["mountPoints"]}
    volumes = {volume["name"]: volume["dockerVolumeConfiguration"] for volume in definition["volumes"]}

    assert container["user"] == "10001:10001"
    assert container["readonlyRootFilesystem"]
    assert not container["privileged"]
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert container["dockerSecurityOptions"] == ["no-new-privileges"]
    assert set(mounts) == {"/srv/umgclip", *_written_by(CUDA)}
    # gone with the task; a new volume begins with what the image has there, its owner included
    assert set(mounts.values()) == set(volumes)
    assert all(volume == {"scope": "task", "driver": "local"} for volume in volumes.values())
    assert definition["networkMode"] == "bridge"


def test_nodes_of_a_training_have_the_addresses_of_their_instances():
    rendered = _rendered("ecs-gpu.json", image="x/cuda:1", network_mode="host")

    assert rendered["task_definition"]["networkMode"] == "host"
    assert _errors(_definition(rendered), "RegisterTaskDefinition") == ""


def test_botocores_model_would_notice_a_mistake():
    definition = _definition(_rendered("ecs-gpu.json", image="x/cuda:1"))
    definition["containerDefinitions"][0]["resourceRequirements"][0]["value"] = 1

    assert "Invalid type for parameter containerDefinitions[0].resourceRequirements[0].value" in _errors(
        definition, "RegisterTaskDefinition"
    )
