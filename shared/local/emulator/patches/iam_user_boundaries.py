"""Users can have permissions boundaries, as roles can.

moto knows those of roles alone.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPermissionsBoundary.html

Ours, and not proven by an independent emulator.
"""

from moto.core.responses import EmptyResult
from moto.iam.models import User
from moto.iam.responses import IamResponse


def apply():
    def permissions_boundary(self):
        arn = getattr(self, "permissions_boundary_arn", None)
        return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn} if arn else None

    def put_user_permissions_boundary(self):
        user = self.backend.get_user(self._get_param("UserName"))
        user.permissions_boundary_arn = self._get_param("PermissionsBoundary")
        return EmptyResult()

    def delete_user_permissions_boundary(self):
        user = self.backend.get_user(self._get_param("UserName"))
        user.permissions_boundary_arn = None
        return EmptyResult()

    User.permissions_boundary = property(permissions_boundary)
    IamResponse.put_user_permissions_boundary = put_user_permissions_boundary
    IamResponse.delete_user_permissions_boundary = delete_user_permissions_boundary
