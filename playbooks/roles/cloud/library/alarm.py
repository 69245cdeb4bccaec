#!/usr/bin/python
"""alarm: a CloudWatch alarm that has tags from its creation."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: alarm
short_description: A CloudWatch alarm on the maximum of a metric, with tags
description:
  - M(amazon.aws.cloudwatch_metric_alarm) gives an alarm no tags, and without these nobody knows whose it is.
options:
  region:
    description: Where.
    type: str
    required: true
  name:
    description: Of the alarm.
    type: str
    required: true
  description:
    description: What it tells of.
    type: str
    default: ""
  namespace:
    description: Of the metric.
    type: str
    required: true
  metric:
    description: Its name.
    type: str
    required: true
  dimensions:
    description: Which of its series.
    type: dict
    required: true
  above:
    description: It goes off above this.
    type: float
    required: true
  period_s:
    description: How long a time the maximum is taken of, in seconds.
    type: int
    default: 60
  topic:
    description: The topic that is told.
    type: str
  tags:
    description: From its creation on.
    type: dict
    required: true
author: kon contributors
"""

EXAMPLES = """
- name: Tell of the bill
  alarm:
    region: us-east-1
    name: bill
    namespace: AWS/Billing
    metric: EstimatedCharges
    dimensions: {Currency: USD}
    above: 10
    tags: {Project: kon}
"""

RETURN = """
arn:
  description: Of the alarm, once it is there.
  type: str
  returned: when it is there
"""


def wanted(given: dict[str, Any]) -> dict[str, Any]:
    """As PutMetricAlarm takes it."""
    return {
        "AlarmName": given["name"],
        "AlarmDescription": given["description"],
        "Namespace": given["namespace"],
        "MetricName": given["metric"],
        "Dimensions": [{"Name": key, "Value": str(value)} for key, value in given["dimensions"].items()],
        "Statistic": "Maximum",
        "Period": given["period_s"],
        "EvaluationPeriods": 1,
        "Threshold": given["above"],
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [given["topic"]] if given["topic"] else [],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "region": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "description": {"type": "str", "default": ""},
            "namespace": {"type": "str", "required": True},
            "metric": {"type": "str", "required": True},
            "dimensions": {"type": "dict", "required": True},
            "above": {"type": "float", "required": True},
            "period_s": {"type": "int", "default": 60},
            "topic": {"type": "str"},
            "tags": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        import boto3
        import botocore.exceptions
    except ImportError as error:
        module.fail_json(msg=f"boto3 is missing: {error}")
    alarm = wanted(module.params)
    try:
        cloudwatch = boto3.client("cloudwatch", region_name=module.params["region"])
        there = cloudwatch.describe_alarms(AlarmNames=[alarm["AlarmName"]])["MetricAlarms"]
        changed = not there or any(there[0].get(key) != value for key, value in alarm.items())
        if changed and not module.check_mode:
            tags = [{"Key": key, "Value": str(value)} for key, value in module.params["tags"].items()]
            cloudwatch.put_metric_alarm(**alarm, Tags=tags)
            there = cloudwatch.describe_alarms(AlarmNames=[alarm["AlarmName"]])["MetricAlarms"]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        module.fail_json(msg=f"the alarm {alarm['AlarmName']}: {error}")
    module.exit_json(changed=changed, **({"arn": there[0]["AlarmArn"]} if there else {}))


if __name__ == "__main__":
    main()
