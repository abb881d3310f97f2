"""GetMetricStatistics over the protocol that today's SDKs speak with CloudWatch.

The SDK for Rust speaks Smithy RPC v2 CBOR and nothing else; moto answers it with 404. What is read is moto's own data.

https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html

Ours, and not proven by an independent emulator.
"""

import io
import re
from datetime import timezone

from botocore.parsers import RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer
from botocore.session import get_session
from moto.cloudwatch import urls
from moto.cloudwatch.models import cloudwatch_backends
from moto.core import DEFAULT_ACCOUNT_ID

OPERATION = "GetMetricStatistics"


def apply():
    path = "{0}/service/GraniteServiceVersion20100801/operation/" + OPERATION + "$"
    urls.url_paths[path] = statistics


def statistics(request, full_url, headers):
    asked = RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(request.data)))
    backend = cloudwatch_backends[DEFAULT_ACCOUNT_ID][region(request)]
    found = backend.get_metric_statistics(
        asked["Namespace"],
        asked["MetricName"],
        naive(asked["StartTime"]),
        naive(asked["EndTime"]),
        asked["Period"],
        asked.get("Statistics", []),
        asked.get("Dimensions", []),
        unit=asked.get("Unit"),
    )
    points = [point(statistic, asked.get("Statistics", [])) for statistic in found]
    answer = {"Label": asked["MetricName"], "Datapoints": points}
    shape = get_session().get_service_model("cloudwatch").operation_model(OPERATION).output_shape
    body = bytearray()
    RpcV2CBORSerializer()._serialize_data_item(body, answer, shape)
    return 200, {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}, bytes(body)


def naive(time):
    """moto keeps its times in UTC and does not say so."""
    return time.astimezone(timezone.utc).replace(tzinfo=None)


def point(statistic, wanted):
    values = {
        "Sum": statistic.sum,
        "Average": statistic.average,
        "Minimum": statistic.minimum,
        "Maximum": statistic.maximum,
        "SampleCount": statistic.sample_count,
    }
    told = {name: float(values[name]) for name in wanted if values.get(name) is not None}
    return {"Timestamp": statistic.timestamp.replace(tzinfo=timezone.utc), **told}


def region(request):
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("Authorization", ""))
    return scope.group(1) if scope else "us-east-1"
