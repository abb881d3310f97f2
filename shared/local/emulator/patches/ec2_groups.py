"""What moto 5.2.5 lacks or has wrong about instances in quarantine.

Every response that these patches make is ours: no independent emulator proves it.
"""

from moto.ec2.exceptions import (
    DependencyViolationError,
    InvalidSecurityGroupNotFoundError,
)
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance


def apply():
    groups_belong_to_interfaces()
    interfaces_take_only_groups_that_exist()
    groups_in_use_are_not_deleted()


def groups_belong_to_interfaces():
    """Security groups are those of an interface; an instance shows those of its primary one.

    moto keeps a second list at the instance and shows the union of both, in any order, at every interface, so that
    ModifyNetworkInterfaceAttribute cannot take a group away.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyNetworkInterfaceAttribute.html
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/changing-security-group.html
    """

    def primary(instance):
        return getattr(instance, "nics", {}).get(0)

    def read(instance):
        interface = primary(instance)
        return interface._group_set if interface else instance._groups_at_launch

    def write(instance, groups):
        interface = primary(instance)
        if interface:
            interface._group_set = list(groups)
        instance._groups_at_launch = groups

    Instance.security_groups = property(read, write)
    NetworkInterface.group_set = property(lambda interface: list(interface._group_set))


def interfaces_take_only_groups_that_exist():
    """moto puts None in place of a group that is not there, and fails with 500 at the next look.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html (InvalidGroup.NotFound)
    """
    modify = EC2Backend.modify_network_interface_attribute

    def checked(backend, eni_id, group_ids, *args, **kwargs):
        for group_id in group_ids or []:
            if backend.get_security_group_from_id(group_id) is None:
                raise InvalidSecurityGroupNotFoundError(group_id)
        return modify(backend, eni_id, group_ids, *args, **kwargs)

    EC2Backend.modify_network_interface_attribute = checked


def groups_in_use_are_not_deleted():
    """A group that an interface holds, or that a rule of another group names, cannot be deleted.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html
    """
    delete = EC2Backend._delete_security_group

    def checked(backend, vpc_id, group_id):
        held = any(
            group.id == group_id
            for interface in backend.enis.values()
            # moto keeps the interfaces of terminated instances.
            if not (interface.instance and interface.instance.state == "terminated")
            for group in interface._group_set
        )
        named = any(
            rule.source_group.get("GroupId") == group_id
            for groups in backend.groups.values()
            for group in groups.values()
            if group.id != group_id
            for rule in group.ingress_rules + group.egress_rules
        )
        if held or named:
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return delete(backend, vpc_id, group_id)

    EC2Backend._delete_security_group = checked
