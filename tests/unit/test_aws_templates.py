"""The templates for AWS: closed where they must be, and giving what the code and its settings expect."""

from typing import Any

import pytest
import yaml

from embedded.cloudfront import PREFLIGHT
from media.object_keys import BEDS, LINES, SESSIONS
from media.settings import MediaSettings
from media.stored_lines import RENEWED_AFTER
from tests.support.aws_template import FOLDER, Stack, audio_stack, stack
from tests.support.rights import each

RELEASE: dict[str, Any] = {"Repository": "entrain/backend"}
EDGE: dict[str, Any] = {"DistributionId": "E1", "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:alarms"}
VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"KmsKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/1"},
    {"ClusterName": "entrain", "FurtherReaderArn": "arn:aws:iam::111122223333:role/backup"},
    {"Domain": "audio.example.com", "CertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/1"},
    {"SigningKeyA": "", "ActiveSigningKey": "B"},
)
STACKS = {
    **{f"audio {' '.join(given)}".strip(): audio_stack(**given) for given in VARIANTS},
    "edge": stack("edge", **EDGE),
    "release": stack("release", **RELEASE),
    "release to a cluster": stack("release", **RELEASE, ClusterName="entrain"),
}
every_stack = pytest.mark.parametrize("made", STACKS.values(), ids=STACKS)


def rule(bucket: Any, name: str) -> Any:
    [found] = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if rule["Id"] == name]
    assert found["Status"] == "Enabled"
    return found


def statements(made: Stack, name: str) -> dict[str, Any]:
    found = made.properties(name)["PolicyDocument"]["Statement"]
    return {statement["Sid"]: statement for statement in found}


def behaviour(made: Stack) -> Any:
    return made.properties("Distribution")["DistributionConfig"]["DefaultCacheBehavior"]


@every_stack
def test_no_bucket_can_be_opened_to_the_public(made: Stack) -> None:
    for bucket in made.of_type("AWS::S3::Bucket").values():
        closed = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
        assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(closed, True)
        assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        assert rule(bucket, "abandoned-uploads")["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


@every_stack
def test_every_bucket_refuses_what_is_not_encrypted_on_its_way(made: Stack) -> None:
    policies = made.of_type("AWS::S3::BucketPolicy").values()
    guarded = {policy["Bucket"]: policy["PolicyDocument"]["Statement"] for policy in policies}
    for name in made.of_type("AWS::S3::Bucket"):
        bucket = f"arn:aws:s3:::{made.names.get(name, name)}"
        refusal = {
            "Sid": "NothingInTheClear",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, f"{bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        assert refusal in guarded[made.names.get(name, name)]


def test_the_audio_is_versioned_and_encrypted_and_outlives_its_stack() -> None:
    made = audio_stack()
    bucket = made.properties("AudioBucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    [encryption] = audio_stack(KmsKeyArn="arn:aws:kms:1").properties("AudioBucket")["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    kms = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:1"}
    assert encryption == {"BucketKeyEnabled": True, "ServerSideEncryptionByDefault": kms}
    for resource in made.template["Resources"].values():
        if resource["Type"] == "AWS::S3::Bucket":
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_lines_go_when_they_are_not_used_and_nothing_else_goes_by_age() -> None:
    bucket = audio_stack().properties("AudioBucket")
    cooler, gone = rule(bucket, "lines-cool-down"), rule(bucket, "lines-unused")
    assert cooler["Transitions"] == [{"StorageClass": "STANDARD_IA", "TransitionInDays": RENEWED_AFTER.days}]
    assert gone["ExpirationInDays"] == 180
    assert rule(bucket, "replaced-and-removed")["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    by_age = [
        one for one in bucket["LifecycleConfiguration"]["Rules"] if {"ExpirationInDays", "Transitions"} & set(one)
    ]
    assert [one["Prefix"] for one in by_age] == [LINES, LINES]


def test_only_the_distribution_and_media_read_the_audio() -> None:
    read = statements(audio_stack(), "AudioBucketPolicy")["WhatIsDelivered"]
    assert read["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert read["Action"] == "s3:GetObject"
    assert read["Resource"] == [f"arn:aws:s3:::entrain-audio/{prefix}*.m4a" for prefix in (SESSIONS, *BEDS)]
    source = "arn:aws:cloudfront::111122223333:distribution/Distribution"
    assert read["Condition"] == {"ArnEquals": {"aws:SourceArn": source}}

    for given, readers in (
        ({}, ["MediaUser.Arn"]),
        ({"ClusterName": "one"}, ["ApiRole.Arn", "WorkerRole.Arn", "SeedRole.Arn", "AuditRole.Arn"]),
        ({"FurtherReaderArn": "backup"}, ["MediaUser.Arn", "backup"]),
    ):
        refused = statements(audio_stack(**given), "AudioBucketPolicy")["NobodyElseReads"]
        assert (refused["Effect"], refused["Principal"]) == ("Deny", "*")
        assert refused["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
        assert refused["Resource"] == "arn:aws:s3:::entrain-audio/*"
        assert refused["Condition"] == {
            "Bool": {"aws:PrincipalIsAWSService": "false"},
            "ArnNotEquals": {"aws:PrincipalArn": readers},
        }


def test_a_listener_needs_a_signature_by_one_of_two_keys() -> None:
    made = audio_stack()
    assert behaviour(made)["TrustedKeyGroups"] == ["KeyGroup"]
    assert made.properties("KeyGroup")["KeyGroupConfig"]["Items"] == ["PublicKeyA", "PublicKeyB"]
    assert "CacheBehaviors" not in made.properties("Distribution")["DistributionConfig"]
    keys = made.of_type("AWS::CloudFront::PublicKey").values()
    assert [key["PublicKeyConfig"]["EncodedKey"][-1] for key in keys] == ["A", "B"]


@pytest.mark.parametrize(
    "given, trusted, signs",
    [
        ({}, ["PublicKeyA", "PublicKeyB"], "PublicKeyA"),
        ({"ActiveSigningKey": "B"}, ["PublicKeyA", "PublicKeyB"], "PublicKeyB"),
        ({"ActiveSigningKey": "B", "SigningKeyA": ""}, ["PublicKeyB"], "PublicKeyB"),
    ],
)
def test_a_rotation_never_leaves_the_signing_key_untrusted(
    given: dict[str, str], trusted: list[str], signs: str
) -> None:
    made = audio_stack(**given)
    assert made.refusals() == []
    assert made.properties("KeyGroup")["KeyGroupConfig"]["Items"] == trusted
    assert made.outputs()["CLOUDFRONT_KEY_PAIR_ID"] == signs


@pytest.mark.parametrize(
    "given, said",
    [
        ({"SigningKeyA": "", "SigningKeyB": ""}, "nobody could hear"),
        ({"SigningKeyA": ""}, "ActiveSigningKey names the key that was taken out"),
        ({"ActiveSigningKey": "B", "SigningKeyB": ""}, "ActiveSigningKey names the key that was taken out"),
        ({"Domain": "audio.example.com"}, "Give both Domain and CertificateArn"),
    ],
)
def test_parameters_that_would_deliver_nothing_are_refused(given: dict[str, str], said: str) -> None:
    assert said in " ".join(audio_stack(**given).refusals())


def test_the_signature_is_no_part_of_the_cache_key_and_files_say_how_long_they_are_kept() -> None:
    made = audio_stack()
    policy = made.properties("CachePolicy")["CachePolicyConfig"]
    key = policy["ParametersInCacheKeyAndForwardedToOrigin"]
    assert key["QueryStringsConfig"] == {"QueryStringBehavior": "none"}
    assert (key["HeadersConfig"], key["CookiesConfig"]) == ({"HeaderBehavior": "none"}, {"CookieBehavior": "none"})
    assert (policy["MinTTL"], policy["MaxTTL"]) == (0, 31536000)
    assert behaviour(made)["Compress"] is False, "a compressed answer has no ranges"


def test_answers_carry_the_headers_that_the_stand_in_for_the_cdn_carries() -> None:
    made = audio_stack()
    config = made.properties("ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    cors, security = config["CorsConfig"], config["SecurityHeadersConfig"]
    [of_the_bucket] = made.properties("AudioBucket")["CorsConfiguration"]["CorsRules"]
    exposed = PREFLIGHT["Access-Control-Expose-Headers"].split(", ")
    assert cors["AccessControlExposeHeaders"]["Items"] == of_the_bucket["ExposedHeaders"] == exposed
    methods = PREFLIGHT["Access-Control-Allow-Methods"].split(", ")
    assert cors["AccessControlAllowMethods"]["Items"] == of_the_bucket["AllowedMethods"] == methods
    assert cors["AccessControlAllowOrigins"]["Items"] == of_the_bucket["AllowedOrigins"] == ["https://app.example.com"]
    assert cors["AccessControlAllowCredentials"] is False
    assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31536000
    assert security["ContentTypeOptions"] == {"Override": True}


def test_audio_is_delivered_over_modern_tls_and_http() -> None:
    own = audio_stack(Domain="audio.example.com", CertificateArn="arn").properties("Distribution")["DistributionConfig"]
    assert own["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert own["Aliases"] == ["audio.example.com"]
    assert own["HttpVersion"] == "http2and3"
    assert own["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    [origin] = own["Origins"]
    assert origin["OriginAccessControlId"] == "OriginAccessControl.Id"
    assert "Aliases" not in audio_stack().properties("Distribution")["DistributionConfig"]


@every_stack
def test_a_role_is_given_named_actions_on_named_things(made: Stack) -> None:
    policies = [policy["PolicyDocument"] for policy in made.of_type("AWS::IAM::ManagedPolicy").values()]
    for role in made.of_type("AWS::IAM::Role").values():
        policies += [policy["PolicyDocument"] for policy in role.get("Policies", ())]
    granted = [statement for policy in policies for statement in policy["Statement"]]
    for statement in granted:
        assert not [action for action in each(statement["Action"]) if "*" in action]
        if statement["Action"] != "ecr:GetAuthorizationToken":  # which knows nothing but "*"
            assert not [one for one in each(statement["Resource"]) if one.partition("/")[0] in ("*", "arn:aws:s3:::*")]


@every_stack
def test_a_role_is_taken_by_whom_it_is_for_and_by_nobody_else(made: Stack) -> None:
    for name, role in made.of_type("AWS::IAM::Role").items():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        asked = trust["Condition"]["StringEquals"]
        if name == "ReleaseRole":
            assert asked["token.actions.githubusercontent.com:sub"] == "repo:entrain/backend:ref:refs/heads/main"
            assert asked["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
        else:
            pods = made.of_type("AWS::EKS::PodIdentityAssociation").values()
            [own] = [pod for pod in pods if pod["RoleArn"] == f"{name}.Arn"]
            assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
            assert asked["aws:RequestTag/kubernetes-service-account"] == own["ServiceAccount"]
            assert asked["aws:RequestTag/kubernetes-namespace"] == own["Namespace"] == "entrain"
            assert asked["aws:RequestTag/eks-cluster-name"] == own["ClusterName"] == "entrain"


@every_stack
def test_an_alarm_reaches_somebody(made: Stack) -> None:
    for name, alarm in made.of_type("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == [made.given["AlarmTopicArn"]], name


def test_alarms_watch_failures_refusals_and_bytes() -> None:
    alarms = [*STACKS["edge"].of_type("AWS::CloudWatch::Alarm").values(), audio_stack().properties("BucketFails")]
    watched = {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms}
    cloudfront = {("AWS/CloudFront", name) for name in ("5xxErrorRate", "4xxErrorRate", "BytesDownloaded")}
    assert watched == {*cloudfront, ("AWS/S3", "5xxErrors")}
    [metrics] = audio_stack().properties("AudioBucket")["MetricsConfigurations"]
    assert {"Name": "FilterId", "Value": metrics["Id"]} in audio_stack().properties("BucketFails")["Dimensions"]


def test_logs_name_neither_a_signature_nor_a_listener() -> None:
    fields = set(STACKS["edge"].properties("LogDelivery")["RecordFields"])
    assert {"date", "time", "sc-status", "cs-uri-stem", "sc-bytes"} <= fields
    telling = {"cs-uri-query", "c-ip", "x-forwarded-for", "cs(Cookie)", "cs(Referer)", "cs(User-Agent)", "c-port"}
    assert not fields & telling


@pytest.mark.parametrize("made", [made for name, made in STACKS.items() if name.startswith("audio")])
def test_outputs_that_are_variables_are_settings_of_media(made: Stack) -> None:
    variables = {name: value for name, value in made.outputs().items() if name.isupper()}
    assert {name.lower() for name in variables} <= set(MediaSettings.model_fields)
    needed = {"AWS_S3_BUCKET_NAME", "AWS_REGION", "CLOUDFRONT_DOMAIN", "CLOUDFRONT_KEY_PAIR_ID"}
    assert variables.keys() - {"AWS_S3_KMS_KEY_ID"} == needed


def test_templates_are_written_out_because_cloudformation_knows_no_anchors() -> None:
    for path in FOLDER.glob("*.yaml"):
        kinds = {type(token) for token in yaml.scan(path.read_text())}
        assert not kinds & {yaml.AnchorToken, yaml.AliasToken}, path.name
