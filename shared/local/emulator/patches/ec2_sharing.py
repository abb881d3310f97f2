"""Block public access for snapshots and images, and which snapshots are listed.

moto has no block public access, lists every snapshot that it has, of whomever, whatever is asked for, and fails with 500
where an attribute of an image is asked for that is not there.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableSnapshotBlockPublicAccess.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisableSnapshotBlockPublicAccess.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetSnapshotBlockPublicAccessState.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableImageBlockPublicAccess.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisableImageBlockPublicAccess.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetImageBlockPublicAccessState.html
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html (`OwnerIds`, `RestorableByUserIds`)
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html (OperationNotPermitted, InvalidAMIID.NotFound)

Here a change of the setting for images is applied at once, which in AWS takes up to ten minutes.

Ours, and not proven by an independent emulator.
"""

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, InvalidParameterValueError
from moto.ec2.models import EC2Backend
from moto.ec2.responses import EC2Response

UNBLOCKED = "unblocked"


def apply():
    setting("snapshot", "State", ("block-all-sharing", "block-new-sharing"))
    setting("image", "ImageBlockPublicAccessState", ("block-new-sharing",))
    what_is_blocked_is_not_made_public()
    an_image_that_is_not_there_has_no_attributes()
    EC2Response.describe_snapshots = describe_snapshots


def setting(kind, member, modes):
    """The three calls of a setting."""
    name = f"{kind}_block_public_access"

    def read(response):
        return ActionResult({member: state(response.ec2_backend, kind), "ManagedBy": "account"})

    def enable(response):
        mode = response._get_param(member)
        if mode not in modes:
            raise InvalidParameterValueError(str(mode))
        setattr(response.ec2_backend, name, mode)
        return ActionResult({member: mode})

    def disable(response):
        setattr(response.ec2_backend, name, UNBLOCKED)
        return ActionResult({member: UNBLOCKED})

    setattr(EC2Response, f"get_{name}_state", read)
    setattr(EC2Response, f"enable_{name}", enable)
    setattr(EC2Response, f"disable_{name}", disable)


def state(backend, kind):
    return getattr(backend, f"{kind}_block_public_access", UNBLOCKED)


def what_is_blocked_is_not_made_public():
    add = EC2Backend.add_create_volume_permission
    modify = EC2Backend.modify_image_attribute

    def add_checked(backend, snapshot_id, user_ids, groups):
        if groups:
            check(backend, "snapshot")
        return add(backend, snapshot_id, user_ids=user_ids, groups=groups)

    def modify_checked(backend, ami_id, launch_permissions_to_add, launch_permissions_to_remove):
        if any("Group" in permission for permission in launch_permissions_to_add):
            check(backend, "image")
        return modify(backend, ami_id, launch_permissions_to_add, launch_permissions_to_remove)

    EC2Backend.add_create_volume_permission = add_checked
    EC2Backend.modify_image_attribute = modify_checked


def an_image_that_is_not_there_has_no_attributes():
    read = EC2Backend.describe_image_attribute

    def checked(backend, ami_id, attribute_name):
        if ami_id not in backend.amis:
            raise InvalidAMIIdError(ami_id)
        return read(backend, ami_id, attribute_name)

    EC2Backend.describe_image_attribute = checked


def check(backend, kind):
    if state(backend, kind) != UNBLOCKED:
        message = f"You can't publicly share this {kind} because block public access is enabled"
        raise EC2ClientError("OperationNotPermitted", message)


def describe_snapshots(response):
    backend = response.ec2_backend
    found = backend.describe_snapshots(
        snapshot_ids=response._get_param("SnapshotIds", []), filters=response._filters_from_querystring()
    )
    owners = [backend.account_id if owner == "self" else owner for owner in response._get_param("OwnerIds", [])]
    if owners:
        found = [snapshot for snapshot in found if snapshot.owner_id in owners]
    users = response._get_param("RestorableByUserIds", [])
    if users:
        found = [snapshot for snapshot in found if is_restorable_by(snapshot, users)]
    return ActionResult({"Snapshots": found})


def is_restorable_by(snapshot, users):
    return any(
        user in snapshot.create_volume_permission_groups or user in snapshot.create_volume_permission_userids
        for user in users
    )
