"""CloudFormation templates as they would come out for given parameters: conditions decided, references followed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "aws"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::AccountId": "111122223333",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "entrain-audio",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()
_PLACE = re.compile(r"\$\{([\w:.]+)\}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, each read as its long one."""


def _long_form(loader: yaml.Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    content: Any
    if isinstance(node, yaml.ScalarNode):
        content = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        content = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        content = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(content, str):
        content = content.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": content}


_Loader.add_multi_constructor("!", _long_form)


@dataclass(frozen=True)
class Stack:
    """A template with ``given`` parameters. ``names`` are what resources are called, where it matters."""

    template: Mapping[str, Any]
    given: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of every resource of this type that comes to be, by its logical name."""
        return {name: self.properties(name) for name in self._made() if self._resource(name)["Type"] == kind}

    def properties(self, name: str) -> Any:
        return self.value(self._resource(name).get("Properties", {}))

    def outputs(self) -> dict[str, Any]:
        """Values by description."""
        found = {name: each for name, each in self.template["Outputs"].items() if self._holds(each)}
        return {each["Description"]: self.value(each["Value"]) for each in found.values()}

    def refusals(self) -> list[str]:
        """What the template's rules say against the parameters."""
        checks = [check for rule in self.template["Rules"].values() for check in rule["Assertions"]]
        return [check["AssertDescription"] for check in checks if not self.value(check["Assert"])]

    def value(self, node: Any) -> Any:
        """``node`` with every function carried out."""
        if isinstance(node, list):
            return [found for each in node if (found := self.value(each)) is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, content)] = node.items()
            if name == "Ref":
                return self._reference(content)
            if name == "Condition" and isinstance(content, str):
                return self._condition(content)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), content)
        return {key: found for key, each in node.items() if (found := self.value(each)) is not _NOTHING}

    def _function(self, name: str, content: Any) -> Any:
        if name == "If":
            condition, yes, no = content
            return self.value(yes if self._condition(condition) else no)
        if name == "GetAtt":
            return self._attribute(*content)
        if name == "Sub":
            return _PLACE.sub(lambda place: self._named(place[1]), content)
        parts = [self.value(each) for each in content]
        if name == "Equals":
            return parts[0] == parts[1]
        return {"And": all(parts), "Or": any(parts), "Not": not parts[0]}[name]

    def _named(self, place: str) -> str:
        found = self._attribute(*place.split(".", 1)) if "." in place else self._reference(place)
        return str(found)

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.template.get("Parameters", {}):
            return self.given[name] if name in self.given else self.template["Parameters"][name]["Default"]
        assert name in self._made(), f"{name} is referred to and does not come to be"
        return self.names.get(name, name)

    def _attribute(self, name: str, attribute: str) -> str:
        called = self._reference(name)
        is_bucket = self._resource(name)["Type"] == "AWS::S3::Bucket"
        return f"arn:aws:s3:::{called}" if is_bucket and attribute == "Arn" else f"{called}.{attribute}"

    def _condition(self, name: str) -> bool:
        return bool(self.value(self.template["Conditions"][name]))

    def _holds(self, part: Mapping[str, Any]) -> bool:
        return "Condition" not in part or self._condition(part["Condition"])

    def _made(self) -> Iterator[str]:
        return (name for name, each in self.template["Resources"].items() if self._holds(each))

    def _resource(self, name: str) -> Any:
        return self.template["Resources"][name]


def stack(name: str, *, names: Mapping[str, str] | None = None, **given: Any) -> Stack:
    """``name`` of the file in deploy/aws, without its ending, and its parameters."""
    with (FOLDER / f"{name}.yaml").open() as file:
        return Stack(yaml.load(file, _Loader), given, names or {})


def audio_stack(**given: Any) -> Stack:
    """That of the audio, with the parameters that have no default and two keys, called ``entrain-audio``."""
    required = {
        "AllowedOrigins": ["https://app.example.com"],
        "AlarmTopicArn": "arn:aws:sns:eu-central-1:111122223333:alarms",
        "SigningKeyA": "-----BEGIN PUBLIC KEY----- A",
        "SigningKeyB": "-----BEGIN PUBLIC KEY----- B",
    }
    return stack("audio", names={"AudioBucket": "entrain-audio"}, **{**required, **given})
