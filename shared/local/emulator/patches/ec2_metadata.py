"""Changing one metadata option of an instance leaves the others as they are.

moto sets every option that the request leaves out back to its default, or to nothing.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html ("If this parameter is not
specified, the existing state is maintained")

Ours, and not proven by an independent emulator.
"""

from moto.ec2.models.instances import InstanceBackend


def apply():
    InstanceBackend.modify_instance_metadata_options = modify


def modify(
    backend,
    instance_id,
    http_tokens=None,
    hop_limit=None,
    http_endpoint=None,
    dry_run=False,
    http_protocol=None,
    metadata_tags=None,
):
    options = backend.get_instance(instance_id).metadata_options
    options.http_tokens = http_tokens or options.http_tokens
    options.http_put_response_hop_limit = hop_limit or options.http_put_response_hop_limit
    options.http_endpoint = http_endpoint or options.http_endpoint
    options.http_protocol_ipv6 = http_protocol or options.http_protocol_ipv6
    options.instance_metadata_tags = metadata_tags or options.instance_metadata_tags
    return options
