"""cluster.yaml on a stand-in for AWS: what `search/aws_roles.py` and Ray's own set-up of `ray up` make there."""

import copy
import json

import boto3
import pytest
import yaml
from moto import mock_aws

from search import aws_roles
from tests.conftest import ROOT


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """An account of nobody, and a home without keys."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    with mock_aws():
        yield


def allowed(role):
    """Return the actions of a role's own policies, by what they are on."""
    iam, found = boto3.client("iam"), {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        for each in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]:
            found[each["Resource"]] = set(each["Action"])
    return found


def test_head_may_start_workers_and_workers_reach_the_buckets_alone(aws, capsys):
    for bucket in ("trash", "trash", "other"):
        assert aws_roles.main(["--bucket", bucket]) == 0
    assert "reach s3://other" in capsys.readouterr().out
    worker = allowed(aws_roles.WORKER)
    assert set(worker) == {f"arn:aws:s3:::{name}" for name in ("trash", "trash/*", "other", "other/*")}
    assert "s3:PutObject" in worker["arn:aws:s3:::trash/*"]
    iam = boto3.client("iam")
    assert iam.list_attached_role_policies(RoleName=aws_roles.WORKER)["AttachedPolicies"] == []
    arn = iam.get_role(RoleName=aws_roles.WORKER)["Role"]["Arn"]
    assert allowed(aws_roles.HEAD) == {**worker, arn: {"iam:PassRole"}}
    (managed,) = iam.list_attached_role_policies(RoleName=aws_roles.HEAD)["AttachedPolicies"]
    assert managed["PolicyName"] == "AmazonEC2FullAccess"
    for name in (aws_roles.HEAD, aws_roles.WORKER):
        (role,) = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        assert role["RoleName"] == name
        assert "ec2.amazonaws.com" in json.dumps(role["AssumeRolePolicyDocument"])


def test_bad_input_is_one_clear_error(monkeypatch, tmp_path, capsys):
    assert aws_roles.main(["--bucket", "s3://trash"]) == 2
    assert "takes a name such as my-bucket" in capsys.readouterr().err
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert aws_roles.main(["--bucket", "trash"]) == 2
    assert "it takes credentials" in capsys.readouterr().err


def test_rays_set_up_opens_ssh_alone_and_gives_each_kind_of_node_its_role(aws):
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    aws_roles.main(["--bucket", "trash"])
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    made = bootstrap_aws(copy.deepcopy(config))
    nodes = {name: each["node_config"] for name, each in made["available_node_types"].items()}
    assert {name: node["IamInstanceProfile"]["Name"] for name, node in nodes.items()} == {
        "head": aws_roles.HEAD,
        "v100_spot": aws_roles.WORKER,
        "v100": aws_roles.WORKER,
    }
    assert len({node["ImageId"] for node in nodes.values()}) == 1
    assert {node["KeyName"] for node in nodes.values()} == {"ray-autoscaler_us-west-2"}
    ec2 = boto3.resource("ec2")
    provider = AWSNodeProvider(made["provider"], made["cluster_name"])
    for name, node in nodes.items():
        (instance,) = provider.create_node(node, {"ray-node-name": name}, 1).values()
        assert instance.iam_instance_profile["Arn"].endswith(aws_roles.HEAD if name == "head" else aws_roles.WORKER)
        assert instance.instance_lifecycle == ("spot" if name == "v100_spot" else None)
    for node in nodes.values():
        (group,) = [ec2.SecurityGroup(each) for each in node["SecurityGroupIds"]]
        outside = [rule for rule in group.ip_permissions if rule["IpRanges"] or rule.get("Ipv6Ranges")]
        assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
        inside = [rule for rule in group.ip_permissions if rule not in outside]
        assert all(pair["GroupId"] == group.id for rule in inside for pair in rule["UserIdGroupPairs"])
        assert inside
