"""A policy whose default version is set to the one that it is keeps it.

In moto it has none then.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SetDefaultPolicyVersion.html

Ours, and not proven by an independent emulator.
"""

from moto.iam.models import ManagedPolicy


def apply():
    def update_default_version(self, new_default_version_id):
        self.default_version_id = new_default_version_id
        for version in self.versions:
            version.is_default = version.version_id == new_default_version_id

    for kind in [ManagedPolicy, *ManagedPolicy.__mro__[1:]]:
        if "update_default_version" in vars(kind):
            kind.update_default_version = update_default_version
