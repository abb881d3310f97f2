"""What moto 5.2.5 has wrong about network ACLs that are not there, and about the last entries of those that are.

Every response that these patches make is ours: no independent emulator proves it.
"""

from moto.ec2.exceptions import EC2ClientError, InvalidNetworkAclIdError
from moto.ec2.models import EC2Backend


class NoSuchEntry(EC2ClientError):
    def __init__(self, number):
        super().__init__(
            "InvalidNetworkAclEntry.NotFound",
            f"The network acl entry identified by {number} does not exist.",
        )


def apply():
    what_is_not_there_is_not_found()
    the_last_entry_denies()


def what_is_not_there_is_not_found():
    """moto names a route table where a network ACL is missing, and fails with 500 where an entry is.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html (InvalidNetworkAclID.NotFound,
    InvalidNetworkAclEntry.NotFound)
    """
    describe = EC2Backend.describe_network_acls
    delete = EC2Backend.delete_network_acl_entry

    def described(backend, network_acl_ids=None, filters=None):
        for network_acl_id in network_acl_ids or []:
            if network_acl_id not in backend.network_acls:
                raise InvalidNetworkAclIdError(network_acl_id)
        return describe(backend, network_acl_ids, filters)

    def deleted(backend, network_acl_id, rule_number, egress):
        entries = backend.get_network_acl(network_acl_id).network_acl_entries
        if not any(entry.egress == egress and entry.rule_number == rule_number for entry in entries):
            raise NoSuchEntry(rule_number)
        return delete(backend, network_acl_id, rule_number, egress)

    EC2Backend.describe_network_acls = described
    EC2Backend.delete_network_acl_entry = deleted


def the_last_entry_denies():
    """Every network ACL ends with an entry in each direction that denies the rest. moto has it in default ones only.

    https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html
    """
    create = EC2Backend.create_network_acl

    def created(backend, vpc_id, tags=None, default=False):
        acl = create(backend, vpc_id, tags, default)
        for egress in () if default else (True, False):
            backend.create_network_acl_entry(
                acl.id, 32767, "-1", "deny", egress, "0.0.0.0/0", None, None, None, None, None
            )
        return acl

    EC2Backend.create_network_acl = created
