"""Makes the two AWS roles that cluster.yaml names, once an account: python search/aws_roles.py --bucket BUCKET.

The head starts and ends instances and hands them the workers' role; workers reach the bucket and nothing else. Nodes
then need no keys of the user's. Run it again for another bucket: both roles reach all that were named.
"""

import argparse
import contextlib
import json
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console

HEAD, WORKER = "trashsweep-head", "trashsweep-worker"
EC2 = "arn:aws:iam::aws:policy/AmazonEC2FullAccess"


def make_roles(iam: Any, bucket: str) -> None:
    """Make both roles with their instance profiles, or widen those there are to a further bucket.

    Args:
        iam: boto3's client.
        bucket: name of the one that holds data and runs.

    Raises:
        ClientError: AWS refuses.
    """
    worker = _role(iam, WORKER)
    _role(iam, HEAD)
    for name in (HEAD, WORKER):
        iam.put_role_policy(RoleName=name, PolicyName=f"bucket-{bucket}", PolicyDocument=_policy(*_on_bucket(bucket)))
    iam.attach_role_policy(RoleName=HEAD, PolicyArn=EC2)
    passing = _allow(["iam:PassRole"], worker)
    iam.put_role_policy(RoleName=HEAD, PolicyName="pass-worker", PolicyDocument=_policy(passing))


def _role(iam: Any, name: str) -> str:
    """Make a role that EC2 instances can have; returns its ARN."""
    anyone = _policy({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    try:
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=anyone)["Role"]["Arn"]
    except iam.exceptions.EntityAlreadyExistsException:
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_instance_profile(InstanceProfileName=name)
    if not iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return arn


def _on_bucket(bucket: str) -> list[dict[str, Any]]:
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return [_allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"), _allow(objects, f"arn:aws:s3:::{bucket}/*")]


def _allow(actions: list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _parser() -> argparse.ArgumentParser:
    parser = Parser("search/aws_roles.py", description="Makes the AWS roles of cluster.yaml.")
    parser.add_argument("--bucket", required=True, metavar="NAME", help="of S3, for data and runs; without s3://")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Make the roles; returns the exit status."""
    bucket = options.bucket
    if "/" in bucket:
        raise ValueError(f"--bucket takes a name such as my-bucket, found {bucket}")
    try:
        make_roles(boto3.client("iam"), bucket)
    except (ClientError, BotoCoreError) as error:
        rest = "it takes credentials that may (aws configure, or AWS_PROFILE)"
        raise ValueError(f"AWS did not make the roles ({error}); {rest}") from error
    console = open_console(highlight=False, soft_wrap=True)
    console.print(f"{HEAD} and {WORKER} reach s3://{bucket}; go on with: ray up cluster.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
