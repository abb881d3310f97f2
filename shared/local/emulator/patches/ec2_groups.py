"""The security groups of an instance are those of its primary network interface.

moto keeps two lists: changing the groups of an interface leaves the instance's as they were, and an interface shows the
groups of both. It also deletes groups that are in use.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html (`groupSet`)
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html (`GroupId.N`)
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyNetworkInterfaceAttribute.html (`SecurityGroupId.N`)
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html (`DependencyViolation`)

Ours, and not proven by an independent emulator.
"""

from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupBackend


def apply():
    Instance.security_groups = property(groups_of_instance, set_groups_of_instance)
    NetworkInterface.group_set = property(lambda interface: interface._group_set)
    delete = SecurityGroupBackend._delete_security_group

    def delete_unless_used(backend, vpc_id, group_id):
        used = any(
            group.id == group_id
            for interface in backend.enis.values()
            if not (interface.instance and interface.instance._state.name == "terminated")
            for group in interface._group_set
        )
        named = any(
            rule.source_group.get("GroupId") == group_id
            for groups in backend.groups.values()
            for group in groups.values()
            if group.id != group_id
            for rule in group.ingress_rules + group.egress_rules
        )
        if used or named:
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return delete(backend, vpc_id, group_id)

    SecurityGroupBackend._delete_security_group = delete_unless_used


def groups_of_instance(instance):
    primary = getattr(instance, "nics", {}).get(0)
    return primary._group_set if primary else instance.__dict__.get("launch_groups", [])


def set_groups_of_instance(instance, groups):
    """At launch there is no interface yet; it gets its groups from this list."""
    primary = getattr(instance, "nics", {}).get(0)
    if primary:
        primary._group_set = list(groups)
    else:
        instance.__dict__["launch_groups"] = list(groups)
