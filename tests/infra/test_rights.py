"""Rights of workers in a cluster and in an AWS account; jobs that they start contain no login in clear text."""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from moto import mock_aws
from ruamel.yaml import YAML

INFRA = Path(__file__).parents[2] / "infra"
MANIFEST = INFRA / "templates" / "kubernetes-worker.yaml"
STACK = INFRA / "templates" / "aws" / "ecs.yaml"
CLUSTER = "arn:aws:ecs:eu-west-1:123456789012:cluster/gpu"
LOGIN = {
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME": "umgclip-worker",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY": "PREFECT_API_AUTH_STRING",
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    loaded = list(YAML(typ="safe").load_all(MANIFEST.read_text(encoding="utf-8")))
    return {manifest["kind"]: manifest for manifest in loaded}


def test_the_worker_has_rights_in_its_namespace_and_no_more_than_it_uses(manifests):
    assert set(manifests) == {"ServiceAccount", "Role", "RoleBinding", "Deployment"}
    assert {(part["metadata"]["namespace"], part["metadata"]["name"]) for part in manifests.values()} == {
        ("umgclip", "umgclip-worker")
    }
    rights = {
        (resource, verb)
        for rule in manifests["Role"]["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # a secret it neither reads nor lists: jobs name theirs
    assert rights == {
        *(("jobs", verb) for verb in ("create", "delete", "get", "list", "watch")),
        *(("pods", verb) for verb in ("get", "list", "watch")),
        ("pods/log", "get"),
    }
    assert manifests["RoleBinding"]["roleRef"]["kind"] == "Role"
    assert manifests["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "umgclip-worker", "namespace": "umgclip"}
    ]


def test_the_workers_pod_is_valid_and_gives_jobs_the_login_by_reference(manifests):
    template = manifests["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}

    assert template["spec"]["serviceAccountName"] == "umgclip-worker"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    assert {name: variables[name]["value"] for name in LOGIN} == LOGIN
    assert variables["PREFECT_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"] == {
        "name": LOGIN["PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME"],
        "key": LOGIN["PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY"],
    }
    assert variables["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"]["value"] == "umgclip"
    schema = json.loads((Path(__file__).parent / "kubernetes-1.37-job.json").read_text(encoding="utf-8"))
    spec = {"template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}}
    jsonschema.validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": spec}, schema)


def test_the_workers_of_compose_know_the_secret_and_the_queue():
    services = YAML(typ="safe").load((INFRA / "compose.yaml").read_text(encoding="utf-8"))["services"]
    kubernetes, ecs = services["worker-kubernetes"]["environment"], services["worker-ecs"]["environment"]

    assert {name: kubernetes[name] for name in LOGIN} == LOGIN
    assert kubernetes["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == "umgclip"
    assert ecs["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] == "${ECS_EVENTS_QUEUE:-umgclip-ecs-events}"


def test_the_deployment_to_ecs_names_the_logins_secret():
    deployments = YAML(typ="safe").load((INFRA / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    (ecs,) = [one for one in deployments if one["name"] == "gpu-ecs"]

    assert (
        ecs["work_pool"]["job_variables"]["prefect_api_auth_string_secret_arn"] == "{{ $UMGCLIP_PREFECT_SECRET_ARN }}"
    )


@pytest.fixture
def stack() -> Iterator[boto3.Session]:
    """Create the stack with moto, which emulates CloudFormation but ignores queue policies."""
    with mock_aws(), warnings.catch_warnings(action="ignore", category=UserWarning):
        session = boto3.Session("test", "test", region_name="eu-west-1")
        given = {"ClusterArn": CLUSTER, "Bucket": "models"}
        session.client("cloudformation").create_stack(
            StackName="umgclip-ecs",
            TemplateBody=STACK.read_text(encoding="utf-8"),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        )
        yield session


def test_changes_of_the_clusters_tasks_come_to_the_queue(stack):
    outputs = stack.client("cloudformation").describe_stacks()["Stacks"][0]["Outputs"]
    values = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    queues, events = stack.client("sqs"), stack.client("events")
    url = queues.get_queue_url(QueueName=values["QueueName"])["QueueUrl"]
    queue = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    (rule,) = events.list_rules()["Rules"]

    assert json.loads(rule["EventPattern"]) == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {"clusterArn": [CLUSTER]},
    }
    assert [target["Arn"] for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]] == [
        queue["QueueArn"]
    ]
    assert queue["SqsManagedSseEnabled"] == "true"
    assert json.loads(queue["RedrivePolicy"])["maxReceiveCount"] == 3
    assert set(values) == {"QueueName", "WorkerPolicyArn", "ExecutionRoleArn", "TaskRoleArn"}


def test_rights_in_the_account_end_at_the_cluster_the_queue_and_the_secrets():
    content = YAML(typ="safe").load(STACK.read_text(encoding="utf-8"))["Resources"]
    statements = content["Worker"]["Properties"]["PolicyDocument"]["Statement"]
    for statement in statements:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert not any("*" in action for action in actions)
        if {"ecs:RunTask", "ecs:StopTask"} & set(actions):
            assert statement["Condition"] == {"ArnEquals": {"ecs:cluster": {"Ref": "ClusterArn"}}}
        if "iam:PassRole" in actions:
            assert statement["Resource"] == [{"Fn::GetAtt": ["Execution", "Arn"]}, {"Fn::GetAtt": ["Task", "Arn"]}]
    (policy,) = content["OnlyTheRule"]["Properties"]["PolicyDocument"]["Statement"]
    assert policy["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Changes", "Arn"]}}}
    (secrets,) = content["Execution"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert secrets["Action"] == "secretsmanager:GetSecretValue"
    assert secrets["Resource"]["Fn::Sub"].endswith(":secret:${SecretPrefix}*")


def test_cloudformation_can_read_the_template():
    text = STACK.read_text(encoding="utf-8")

    assert not re.search(r": [&*]\w|<<:", text), "CloudFormation knows no anchors"
    assert len(text) < 51_200, "the most that it takes without a bucket"
