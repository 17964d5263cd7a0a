"""What S3 demands for each operation, and whether an IAM policy grants it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}


@dataclass(frozen=True, order=True)
class Call:
    """An action on what it is done to, as IAM sees it."""

    action: str
    resource: str


@dataclass(frozen=True, order=True)
class Grant:
    """One action on one pattern of resources, of all that a policy grants."""

    action: str
    pattern: str

    def covers(self, call: Call) -> bool:
        wanted = ".*".join(map(re.escape, self.pattern.split("*")))
        return self.action == call.action and re.fullmatch(wanted, call.resource) is not None


def calls_of(operation: str, parameters: Mapping[str, Any]) -> Iterator[Call]:
    """What one request of botocore is, one call for each object it touches."""
    bucket = f"arn:aws:s3:::{parameters['Bucket']}"
    if operation == "DeleteObjects":
        for each in parameters["Delete"]["Objects"]:
            action = "s3:DeleteObjectVersion" if "VersionId" in each else "s3:DeleteObject"
            yield Call(action, f"{bucket}/{each['Key']}")
    else:
        yield Call(ACTIONS[operation], f"{bucket}/{parameters['Key']}" if "Key" in parameters else bucket)


def grants(policy: Mapping[str, Any]) -> list[Grant]:
    """All that the policy grants. It must be of the plain kind: nothing but Allow, and no conditions."""
    found = []
    for statement in policy["Statement"]:
        assert set(statement) - {"Sid"} == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        found += [
            Grant(action, pattern) for action in each(statement["Action"]) for pattern in each(statement["Resource"])
        ]
    return found


def allows(policy: Mapping[str, Any], call: Call) -> bool:
    return any(grant.covers(call) for grant in grants(policy))


def each(one_or_more: Any) -> list[Any]:
    """AWS writes a list of one as its only element."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
