"""A CloudFormation template with its parameters filled in, as far as alarms and dashboards need it."""

import re
from collections.abc import Mapping
from typing import Any

from tests.deployment.stacks import template

ACCOUNT, PARTITION, REGION = "111122223333", "aws", "us-east-1"


class FilledIn:
    """A resource is called by its name in the template, and its attributes by that and theirs."""

    def __init__(self, stack: str, given: Mapping[str, str]) -> None:
        self.template = template(stack)
        defaults = {name: each.get("Default") for name, each in self.template["Parameters"].items()}
        self._values: dict[str, Any] = {**defaults, **given}
        assert None not in self._values.values(), "a parameter is left open"
        self._values |= {"AWS::AccountId": ACCOUNT, "AWS::Partition": PARTITION, "AWS::Region": REGION}

    def properties(self, kind: str) -> dict[str, Any]:
        """Of all resources of this kind that are made, by name."""
        return {
            name: self.value(each["Properties"])
            for name, each in self.template["Resources"].items()
            if each["Type"] == kind and ("Condition" not in each or self._holds(each["Condition"]))
        }

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(each) for each in node]
        if not isinstance(node, dict):
            return node
        if len(node) != 1:
            return {name: self.value(each) for name, each in node.items()}
        ((name, argument),) = node.items()
        if name == "Ref":
            return self._values.get(argument, argument)
        if name == "Fn::GetAtt":
            return ".".join(argument)
        if name == "Fn::Sub":
            return re.sub(r"\${([\w:.]+)}", lambda match: str(self._values.get(match[1], match[1])), argument)
        if name == "Fn::If":
            return self.value(argument[1] if self._holds(argument[0]) else argument[2])
        if name == "Fn::Join":
            joined = self.value(argument[1])
            return joined if isinstance(joined, str) else argument[0].join(joined)
        if name == "Fn::Equals":
            first, second = self.value(argument)
            return first == second
        if name == "Fn::Not":
            return not self.value(argument[0])
        assert not name.startswith("Fn::"), f"what is {name}?"
        return {name: self.value(argument)}

    def _holds(self, condition: str) -> bool:
        return bool(self.value(self.template["Conditions"][condition]))
